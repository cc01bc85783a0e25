/** The user, the device and the header of a Passport, written as bytes. */
import { Level, Source, checkLevel, sourceNumber } from "./identity.js";
import { concat, encodeDelimited, encodeField, encodeScalar, encodeVarint, readFields, utf8 } from "./wire.js";

const MAX_INT64 = 2n ** 63n - 1n;
const NOTHING = new Uint8Array(0);

// By their names, in the order of their numbers: the number of a field, and how its value is written.
const HEADER = { requestId: [1, text], created: [2, scalar], issuer: [3, text], trustDomain: [4, text] };
const USER = {
  source: [1, source],
  created: [2, scalar],
  expires: [3, scalar],
  customerId: [4, wrapped(scalar)],
  accountOwnerId: [5, wrapped(scalar)],
  profileId: [6, wrapped(text)],
  sessionId: [7, wrapped(text)],
  level: [11, level],
  actions: [12, packed],
  rescheduled: [13, (field, value) => encodeScalar(field, value === true ? 1 : 0)],
};
const DEVICE = {
  source: [1, source],
  created: [2, scalar],
  expires: [3, scalar],
  esn: [4, wrapped(text)],
  deviceType: [5, wrapped(scalar)],
  actions: [7, packed],
  level: [8, level],
};

/** Source NONE, level UNSPECIFIED: signed as any other, so that "nobody" cannot be forged. */
const NOBODY = Object.freeze({ source: Source.NONE, level: Level.UNSPECIFIED });

/** Return a Header. Throws TypeError for values that a Passport cannot carry, as do the others. */
export function encodeHeader(header) {
  return encode(HEADER, header);
}

/** Return a UserInfo: of a user, or of nobody for null. `rest` has `created`, `expires` and numbers of `actions`. */
export function encodeUser(user, rest) {
  return encode(USER, { ...(user ?? NOBODY), ...rest });
}

/** Return a DeviceInfo: of a device, or of none for null; see `encodeUser`. */
export function encodeDevice(device, rest) {
  return encode(DEVICE, { ...(device ?? NOBODY), ...rest });
}

/** Return a UserInfo with some fields changed; null takes one off, and what is not named stays, unknown fields too. */
export function changeUser(userInfo, changes) {
  return change(USER, userInfo, changes);
}

/** Return a DeviceInfo with some fields changed: see `changeUser`. */
export function changeDevice(deviceInfo, changes) {
  return change(DEVICE, deviceInfo, changes);
}

function encode(fields, values) {
  for (const name of Object.keys(values)) {
    if (!Object.hasOwn(fields, name)) throw new TypeError(`a part has no field ${name}`);
  }
  return concat(
    Object.entries(fields).map(([name, [field, write]]) =>
      isAbsent(values[name]) ? NOTHING : write(field, values[name]),
    ),
  );
}

function change(fields, data, changes) {
  const written = encode(fields, changes);
  const changed = new Set(Object.keys(changes).map((name) => fields[name][0]));
  return concat([
    ...readFields(data)
      .filter(({ number }) => !changed.has(number))
      .map(encodeField),
    written,
  ]);
}

function isAbsent(value) {
  return value === undefined || value === null;
}

function wrapped(write) {
  return (field, value) => encodeDelimited(field, write(1, value));
}

function source(field, value) {
  return encodeScalar(field, sourceNumber(value));
}

function level(field, value) {
  checkLevel(value);
  return encodeScalar(field, value);
}

function packed(field, numbers) {
  // A number that is not known here may be negative, as an int32 is written.
  const values = numbers.map((number) => encodeVarint(BigInt.asUintN(64, BigInt(number))));
  return values.length === 0 ? NOTHING : encodeDelimited(field, concat(values));
}

function text(field, value) {
  if (typeof value !== "string") throw new TypeError("not a text that a Passport can carry");
  return value === "" ? NOTHING : encodeDelimited(field, utf8(value));
}

/** A number that is no safe integer has lost digits already: 64-bit ids are bigints. */
function scalar(field, value) {
  const isWhole = typeof value === "bigint" || Number.isSafeInteger(value);
  if (!isWhole || value < 0 || value > MAX_INT64) throw new TypeError("not a number that a Passport can carry");
  return encodeScalar(field, value);
}
