/**
 * The parts of a Passport, read strictly: no singular field twice, no value of a wrong type.
 *
 * A part is parsed only after its MAC was found good, so this guards against a signer's mistakes rather than against
 * strangers: two libraries must never read two identities from one signed part. Unknown fields pass: newer issuers
 * may add some, and the MAC covers them.
 */
import { DELIMITED, MalformedWire, VARINT, readFields, readPackedVarints } from "./wire.js";

/** How many values a repeated field may have: actions, in practice one. */
export const MAX_REPEATED = 16;

// ignoreBOM: else a mark at the beginning of a text would be dropped, and two texts would read as one.
const TEXT = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

// What a field is when it is absent, and how one that is there is read. Numbers are cut as protobuf cuts them.
const int64 = { wireType: VARINT, absent: 0n, read: (field) => BigInt.asIntN(64, field.value) };
const int32 = { wireType: VARINT, absent: 0, read: (field) => toInt32(field.value) };
const bool = { wireType: VARINT, absent: false, read: (field) => field.value !== 0n };
const text = { wireType: DELIMITED, absent: "", read: (field) => toText(field.content) };
const wrapped = (type) => {
  const shape = shapeOf({ 1: ["value", type] });
  return { wireType: DELIMITED, absent: null, read: (field) => readMessage(field.content, shape).value };
};
const repeatedEnum = { repeated: true };

export const HEADER = shapeOf({
  1: ["requestId", text],
  2: ["created", int64],
  3: ["issuer", text],
  4: ["trustDomain", text],
});
export const USER_INFO = shapeOf({
  1: ["source", int32],
  2: ["created", int64],
  3: ["expires", int64],
  4: ["customerId", wrapped(int64)],
  5: ["accountOwnerId", wrapped(int64)],
  6: ["profileId", wrapped(text)],
  7: ["sessionId", wrapped(text)],
  11: ["level", int32],
  12: ["actions", repeatedEnum],
  13: ["rescheduled", bool],
});
export const DEVICE_INFO = shapeOf({
  1: ["source", int32],
  2: ["created", int64],
  3: ["expires", int64],
  4: ["esn", wrapped(text)],
  5: ["deviceType", wrapped(int32)],
  7: ["actions", repeatedEnum],
  8: ["level", int32],
});

/** Return the known fields of `data` by their names, the absent ones too; throw MalformedWire. */
export function readMessage(data, shape) {
  const values = {};
  for (const { name, type } of shape.values()) values[name] = type.repeated ? [] : type.absent;
  const seen = new Set();
  for (const field of readFields(data)) {
    const known = shape.get(field.number);
    if (known === undefined) continue;
    if (known.type.repeated) {
      readRepeated(field, values[known.name]);
      continue;
    }
    if (field.wireType !== known.type.wireType || seen.has(field.number)) {
      throw new MalformedWire("a field comes twice or is of another type");
    }
    seen.add(field.number);
    values[known.name] = known.type.read(field);
  }
  return values;
}

function readRepeated(field, values) {
  if (field.wireType === VARINT) values.push(toInt32(field.value));
  else if (field.wireType === DELIMITED)
    for (const value of readPackedVarints(field.content)) values.push(toInt32(value));
  else throw new MalformedWire("a field of another type");
  if (values.length > MAX_REPEATED) throw new MalformedWire("a field comes too often");
}

function shapeOf(fields) {
  return new Map(Object.entries(fields).map(([number, [name, type]]) => [Number(number), { name, type }]));
}

function toInt32(value) {
  return Number(BigInt.asIntN(32, value));
}

function toText(content) {
  try {
    return TEXT.decode(content);
  } catch {
    throw new MalformedWire("text");
  }
}
