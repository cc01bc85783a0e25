/**
 * The protobuf wire format, read by hand and strictly.
 *
 * Protobuf is lenient: a repeated scalar means "the last one", varints may be padded, messages may be concatenated.
 * Two readers of one Passport must not differ, so here every varint is minimal and below 2^64, groups do not exist,
 * and nothing may be left over (https://protobuf.dev/programming-guides/encoding/).
 */

export const VARINT = 0;
export const FIXED64 = 1;
export const DELIMITED = 2;
export const FIXED32 = 5;
const MAX_FIELD_NUMBER = 2 ** 29 - 1;
const MAX_UINT64 = 2n ** 64n - 1n;
const NOTHING = new Uint8Array(0);

/** Bytes that are not strict protobuf. */
export class MalformedWire extends Error {
  name = "MalformedWire";
}

/**
 * Return the fields of one message in the order they stand, unknown ones too; throw MalformedWire.
 *
 * A field is `{number, wireType, value, content}`: `value` is a bigint and for VARINT, `content` a view for the others.
 */
export function readFields(data) {
  const reader = new Reader(data);
  const fields = [];
  while (!reader.done) fields.push(reader.field());
  return fields;
}

/** Return the values of a packed repeated field, as bigints; throw MalformedWire. */
export function readPackedVarints(content) {
  const reader = new Reader(content);
  const values = [];
  while (!reader.done) values.push(BigInt(reader.varint()));
  return values;
}

class Reader {
  #data;
  #position = 0;

  constructor(data) {
    this.#data = data;
  }

  get done() {
    return this.#position === this.#data.length;
  }

  field() {
    // A tag too long for a number to hold exactly is far beyond the greatest field number.
    const tag = Number(this.varint());
    const number = Math.floor(tag / 8);
    const wireType = tag % 8;
    if (number < 1 || number > MAX_FIELD_NUMBER) throw new MalformedWire("field number");
    switch (wireType) {
      case VARINT:
        return { number, wireType, value: BigInt(this.varint()), content: NOTHING };
      case DELIMITED:
        return { number, wireType, value: 0n, content: this.#take(Number(this.varint())) };
      case FIXED64:
        return { number, wireType, value: 0n, content: this.#take(8) };
      case FIXED32:
        return { number, wireType, value: 0n, content: this.#take(4) };
      default:
        throw new MalformedWire("wire type");
    }
  }

  /** Return a number, which is exact for the seven bytes that it may have, or a bigint for longer ones. */
  varint() {
    let value = 0;
    for (let scale = 1; scale < 2 ** 49; scale *= 128) {
      const byte = this.#byte();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (byte === 0 && scale > 1) throw new MalformedWire("varint");
        return value;
      }
    }
    return this.#longVarint(BigInt(value));
  }

  #longVarint(start) {
    let value = start;
    for (let shift = 49n; shift <= 63n; shift += 7n) {
      const byte = this.#byte();
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) {
        if (byte === 0 || value > MAX_UINT64) break;
        return value;
      }
    }
    throw new MalformedWire("varint");
  }

  #byte() {
    if (this.#position >= this.#data.length) throw new MalformedWire("varint");
    return this.#data[this.#position++];
  }

  #take(size) {
    const stop = this.#position + size;
    if (stop > this.#data.length) throw new MalformedWire("length");
    const content = this.#data.subarray(this.#position, stop);
    this.#position = stop;
    return content;
  }
}

/** Return `value`, a number or bigint from 0 to 2^64 - 1, as a minimal varint. */
export function encodeVarint(value) {
  let rest = BigInt(value);
  if (rest < 0n || rest > MAX_UINT64) throw new RangeError("not a number that a varint holds");
  const bytes = [];
  for (; rest > 0x7fn; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
  bytes.push(Number(rest));
  return Uint8Array.from(bytes);
}

/** Return a field as `readFields` gave it, byte for byte what it was. */
export function encodeField({ number, wireType, value, content }) {
  if (wireType === DELIMITED) return encodeDelimited(number, content);
  return concat([encodeVarint(number * 8 + wireType), wireType === VARINT ? encodeVarint(value) : content]);
}

/** Return a number or bigint as a field; 0 is left out, as protobuf does. */
export function encodeScalar(number, value) {
  return BigInt(value) === 0n ? NOTHING : concat([encodeVarint(number * 8 + VARINT), encodeVarint(value)]);
}

/** Return `content` as a length-delimited field. */
export function encodeDelimited(number, content) {
  return concat([encodeVarint(number * 8 + DELIMITED), encodeVarint(content.length), content]);
}

/** Return an unsigned number of 32 bits as a field. */
export function encodeFixed32(number, value) {
  const content = new Uint8Array(4);
  new DataView(content.buffer).setUint32(0, value, true);
  return concat([encodeVarint(number * 8 + FIXED32), content]);
}

/** Return text as UTF-8. */
export function utf8(text) {
  return new TextEncoder().encode(text);
}

/** Return all of `pieces`, in memory of their own. */
export function concat(pieces) {
  const whole = new Uint8Array(pieces.reduce((size, piece) => size + piece.length, 0));
  let position = 0;
  for (const piece of pieces) {
    whole.set(piece, position);
    position += piece.length;
  }
  return whole;
}
