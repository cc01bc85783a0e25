/**
 * The MACs of a Passport: what they cover, how they stand on the wire, how they are checked.
 *
 * Version 1, as published, covers one part. Version 2 binds a user to its device and both to their request: the device
 * MAC covers `context | header | device_info`, the user MAC `context | header | device_info | user_info`, each part
 * with its length in four big-endian bytes before it. The context names domain, version, part and key.
 */
import { Part } from "./identity.js";
import { PassportRefusal, PassportRefused } from "./refusals.js";
import { DELIMITED, MalformedWire, VARINT, concat, encodeDelimited, encodeScalar, readFields, utf8 } from "./wire.js";

export const MAX_PASSPORT_BYTES = 16 * 1024;
const MAC_BYTES = 32;
const ENVELOPE_FIELDS = [1, 2, 3, 4, 5].map((number) => [number, DELIMITED]);
const INTEGRITY_FIELDS = [
  [1, VARINT],
  [2, DELIMITED],
  [3, DELIMITED],
];

/**
 * Take a serialised Passport apart without parsing its parts; throw PassportRefused.
 *
 * Fields 1 to 5 must stand there in order, each once, each length-delimited, and nothing else: what every protobuf
 * library writes, and the one form that all readers see alike. The parts are views of `data`, byte for byte.
 */
export function splitEnvelope(data) {
  if (data.length > MAX_PASSPORT_BYTES) throw new PassportRefused(PassportRefusal.TOO_LONG);
  try {
    const contents = expectFields(data, ENVELOPE_FIELDS).map((field) => field.content);
    const [header, userInfo, deviceInfo, userIntegrity, deviceIntegrity] = contents;
    return {
      header,
      userInfo,
      deviceInfo,
      userIntegrity: readIntegrity(userIntegrity),
      deviceIntegrity: readIntegrity(deviceIntegrity),
    };
  } catch (error) {
    if (error instanceof MalformedWire) throw new PassportRefused(PassportRefusal.MALFORMED);
    throw error;
  }
}

/** Return the serialised Passport; parts that were not changed stay byte for byte. */
export function joinEnvelope({ header, userInfo, deviceInfo, userIntegrity, deviceIntegrity }) {
  const parts = [header, userInfo, deviceInfo, userIntegrity.field, deviceIntegrity.field];
  return concat(parts.map((content, index) => encodeDelimited(index + 1, content)));
}

/**
 * Check the MAC of `part` over the bytes that came, which a key of one of `purposes` must have made.
 *
 * Return why it is refused, or undefined when it is good.
 */
export async function verify(envelope, part, keys, purposes, acceptV1) {
  const { version, keyName, mac } = part === Part.USER ? envelope.userIntegrity : envelope.deviceIntegrity;
  if (version !== 1n && version !== 2n) return PassportRefusal.UNKNOWN_VERSION;
  if (version === 1n && !acceptV1) return PassportRefusal.VERSION_NOT_ACCEPTED;
  const key = keys.find(keyName);
  if (key === null) return PassportRefusal.UNKNOWN_KEY;
  if (!purposes.has(key.purpose)) return PassportRefusal.KEY_PURPOSE;
  const good = await key.verify(mac, covered(version, part, keyName, envelope));
  return good ? undefined : PassportRefusal.BAD_MAC;
}

/** Return the integrity of `part`, made with `key`; `version` is 1n or 2n. */
export async function sign(key, version, part, envelope) {
  const mac = await key.sign(covered(version, part, key.name, envelope));
  const field = concat([encodeScalar(1, version), encodeDelimited(2, utf8(key.name)), encodeDelimited(3, mac)]);
  return { version, keyName: key.name, mac, field };
}

/** Return what the MAC of `part` is computed over; the device's leaves the user out. */
function covered(version, part, keyName, { header, deviceInfo, userInfo }) {
  if (version === 1n) return part === Part.USER ? userInfo : deviceInfo;
  const parts = part === Part.USER ? [header, deviceInfo, userInfo] : [header, deviceInfo];
  return concat([utf8(`edge-passport v2 ${part}\0`), ...[utf8(keyName), ...parts].flatMap(framed)]);
}

function framed(content) {
  const length = new Uint8Array(4);
  new DataView(length.buffer).setUint32(0, content.length);
  return [length, content];
}

function readIntegrity(message) {
  const [version, keyName, mac] = expectFields(message, INTEGRITY_FIELDS);
  if (mac.content.length !== MAC_BYTES) throw new MalformedWire("mac");
  return { version: version.value, keyName: ascii(keyName.content), mac: mac.content, field: message };
}

function expectFields(data, expected) {
  const fields = readFields(data);
  const asExpected =
    fields.length === expected.length &&
    fields.every(({ number, wireType }, index) => number === expected[index][0] && wireType === expected[index][1]);
  if (!asExpected) throw new MalformedWire("fields");
  return fields;
}

function ascii(content) {
  if (content.some((byte) => byte > 0x7f)) throw new MalformedWire("key name");
  return String.fromCharCode(...content);
}
