/** The messages of the KMS as protobuf (proto/kms/v1/kms.proto): what is asked, and what is answered. */
import {
  DELIMITED,
  FIXED32,
  MalformedWire,
  VARINT,
  concat,
  encodeDelimited,
  encodeFixed32,
  encodeScalar,
  readFields,
  readPackedVarints,
  utf8,
} from "./wire.js";

const STATES = ["KEY_STATE_UNSPECIFIED", "PRE_ACTIVE", "ACTIVE", "DEACTIVATED", "DESTROYED"];
const USES = ["USE_UNSPECIFIED", "PROTECT", "OPEN"];
const TEXT = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Return a GetKeySetsRequest. */
export function encodeRequest(purposes, { holder, revisionHeld, uses }) {
  return concat([
    ...purposes.map((purpose) => encodeDelimited(1, utf8(purpose))),
    ...(holder === "" ? [] : [encodeDelimited(2, utf8(holder))]),
    encodeScalar(3, revisionHeld),
    ...uses.map((use) => encodeDelimited(4, encodeUse(use))),
  ]);
}

/**
 * Return `{keySets, revision}` of a GetKeySetsResponse; throw MalformedWire.
 *
 * The key sets are as `PassportKeys.fromKeySets` takes them, each `material` in bytes; `revision` is a bigint.
 */
export function readKeySets(data) {
  const answer = { keySets: [], revision: 0n };
  for (const { number, wireType, value, content } of readFields(data)) {
    if (number === 1) answer.keySets.push(readKeySet(expect(content, wireType, DELIMITED)));
    if (number === 2) answer.revision = expect(value, wireType, VARINT);
  }
  return answer;
}

/** Return the reason in an Error of the KMS; throw MalformedWire. */
export function readErrorReason(data) {
  let reason = "";
  for (const { number, wireType, content } of readFields(data)) {
    if (number === 1) reason = text(expect(content, wireType, DELIMITED));
  }
  return reason;
}

function encodeUse({ keyId, lastUsed, count }) {
  return concat([encodeFixed32(1, keyId), encodeScalar(2, lastUsed), encodeScalar(3, count)]);
}

function readKeySet(data) {
  const keySet = { purpose: "", versions: [], uses: [] };
  for (const { number, wireType, value, content } of readFields(data)) {
    if (number === 1) keySet.purpose = text(expect(content, wireType, DELIMITED));
    if (number === 2) keySet.versions.push(readVersion(expect(content, wireType, DELIMITED)));
    if (number === 3) {
      const numbers = wireType === VARINT ? [value] : readPackedVarints(expect(content, wireType, DELIMITED));
      keySet.uses.push(...numbers.map((use) => USES[Number(use)] ?? "UNKNOWN"));
    }
  }
  return keySet;
}

function readVersion(data) {
  const version = { keyId: 0, state: STATES[0], material: new Uint8Array(0), primary: false };
  for (const { number, wireType, value, content } of readFields(data)) {
    if (number === 1) version.keyId = uint32(expect(content, wireType, FIXED32));
    if (number === 2) version.state = STATES[Number(expect(value, wireType, VARINT))] ?? STATES[0];
    if (number === 3) version.material = expect(content, wireType, DELIMITED);
    if (number === 5) version.primary = expect(value, wireType, VARINT) !== 0n;
  }
  return version;
}

function expect(found, wireType, expected) {
  if (wireType !== expected) throw new MalformedWire("wire type");
  return found;
}

function uint32(content) {
  return new DataView(content.buffer, content.byteOffset, 4).getUint32(0, true);
}

function text(content) {
  try {
    return TEXT.decode(content);
  } catch {
    throw new MalformedWire("text");
  }
}
