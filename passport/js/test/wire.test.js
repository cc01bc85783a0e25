/** The strict reader of protobuf. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { MalformedWire, concat, encodeDelimited, encodeVarint, readFields, readPackedVarints } from "../src/wire.js";
import { seeded } from "./support.js";

const MALFORMED = {
  "no value": [0x08],
  "a varint that is cut": [0x08, 0x80],
  "a padded varint": [0x08, 0x81, 0x00],
  "a padded tag": [0x88, 0x00, 0x01],
  "2^64 and more": [0x08, ...Array(9).fill(0xff), 0x02],
  "eleven bytes": [0x08, ...Array(10).fill(0xff), 0x01],
  "a long padded varint": [0x08, ...Array(8).fill(0xff), 0x00],
  "field number 0": [0x00, 0x01],
  "a group": [0x0b, 0x0c],
  "wire type 6": [0x0e],
  "wire type 7": [0x0f],
  "longer than what is there": [0x0a, 0x02, 0x61],
  "a length of 2^63": [0x0a, ...Array(9).fill(0x80), 0x01],
  "a fixed64 that is cut": [0x09, 0x00],
  "a fixed32 that is cut": [0x0d, 0x00, 0x00],
  "field number 2^29": [0x80, 0x80, 0x80, 0x80, 0x10, 0x00],
  "a tag of ten bytes": [...Array(9).fill(0xff), 0x01, 0x00],
};

for (const [what, bytes] of Object.entries(MALFORMED)) {
  test(`x3 malformed wire is refused: ${what}`, () => {
    assert.throws(() => readFields(Uint8Array.from(bytes)), MalformedWire);
  });
}

test("a varint reads back", () => {
  const edges = [0n, 1n, 127n, 128n, 2n ** 49n - 1n, 2n ** 49n, 2n ** 56n, 2n ** 63n - 1n, 2n ** 63n, 2n ** 64n - 1n];
  const random = seeded(1);
  const some = Array.from(
    { length: 500 },
    () => ((BigInt(random()) << 32n) | BigInt(random())) >> BigInt(random() % 64),
  );
  for (const value of [...edges, ...some]) {
    const [field, ...others] = readFields(concat([Uint8Array.of(0x08), encodeVarint(value)]));
    assert.equal(field.value, value);
    assert.equal(others.length, 0);
    assert.deepEqual(readPackedVarints(encodeVarint(value)), [value]);
  }
});

test("a number that no varint holds is not written", () => {
  assert.throws(() => encodeVarint(-1), RangeError);
  assert.throws(() => encodeVarint(2n ** 64n), RangeError);
});

test("delimited fields read back in order", () => {
  const first = encodeDelimited(1, Uint8Array.of(1, 2, 3));
  const second = encodeDelimited(2 ** 29 - 1, new Uint8Array(300));
  const fields = readFields(concat([first, second, first]));
  assert.deepEqual(
    fields.map(({ number, wireType, content }) => [number, wireType, content.length]),
    [
      [1, 2, 3],
      [2 ** 29 - 1, 2, 300],
      [1, 2, 3],
    ],
  );
});

test("fixed fields are read", () => {
  const fields = readFields(Uint8Array.from([0x0d, 1, 2, 3, 4, 0x11, 1, 2, 3, 4, 5, 6, 7, 8]));
  assert.deepEqual(
    fields.map(({ number, content }) => [number, content.length]),
    [
      [1, 4],
      [2, 8],
    ],
  );
});

test("x3 random bytes are read or malformed, and nothing else", () => {
  const random = seeded(2);
  for (let round = 0; round < 5_000; round++) {
    const data = Uint8Array.from({ length: random() % 40 }, () => (random() % 3 ? random() % 32 : random() & 0xff));
    try {
      readFields(data);
    } catch (error) {
      assert.ok(error instanceof MalformedWire, `${Buffer.from(data).toString("hex")}: ${error.stack}`);
    }
  }
});
