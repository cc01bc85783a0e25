/** Keys from key sets: which verify, which sign, and that they never come out again. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { KeySetError, PassportKeys } from "../src/index.js";
import { concat, encodeDelimited, encodeFixed32, encodeScalar, utf8 } from "../src/wire.js";
import { keysOf, version } from "./support.js";

const USER = "passport-user";

test("pre-active, active and deactivated keys verify, and the active primary signs", async () => {
  const keys = await keysOf({
    purpose: USER,
    versions: [
      version(1, { state: "PRE_ACTIVE", primary: false }),
      version(2),
      version(3, { state: "DEACTIVATED", primary: false }),
      version(4, { state: "DESTROYED" }),
      version(5, { state: "SOMETHING_NEW" }),
    ],
  });
  const found = [1, 2, 3, 4, 5].map((id) => keys.find(`${USER}:0000000${id}`) !== null);
  assert.deepEqual(found, [true, true, true, false, false]);
  assert.equal(keys.signer(USER).name, `${USER}:00000002`);
});

test("a primary that is not active does not sign", async () => {
  const keys = await keysOf({ purpose: USER, versions: [version(1, { state: "DEACTIVATED" })] });
  assert.equal(keys.signer(USER), null);
});

test("keys do only what the KMS has granted", async () => {
  const opening = await keysOf({ purpose: USER, versions: [version(1)], uses: ["OPEN"] });
  assert.equal(opening.signer(USER), null);
  const protecting = await keysOf({ purpose: USER, versions: [version(1)], uses: ["PROTECT"] });
  assert.equal(protecting.find(`${USER}:00000001`), null);
  assert.notEqual(protecting.signer(USER), null);
});

test("keys of other purposes are left out", async () => {
  const keys = await keysOf({ purpose: "cookie", versions: [version(1)] });
  assert.equal(keys.find("cookie:00000001"), null);
});

test("the MAC key is derived as the page says", async () => {
  const { createHmac, hkdfSync } = await import("node:crypto");
  const keys = await keysOf({ purpose: USER, versions: [version(1)] });
  const derived = hkdfSync("sha256", Buffer.alloc(32, 1), "", `edge-passport|v1|${USER}|hmac-sha256`, 32);
  const expected = createHmac("sha256", Buffer.from(derived)).update("data").digest();
  assert.deepEqual(await keys.signer(USER).sign(utf8("data")), new Uint8Array(expected));
});

const WRONG = {
  "short material": { purpose: USER, versions: [{ ...version(1), material: "AAAA" }] },
  "no material": { purpose: USER, versions: [{ keyId: 1, state: "ACTIVE" }] },
  "material that is neither text nor bytes": { purpose: USER, versions: [{ ...version(1), material: 7 }] },
  "a key id twice": { purpose: USER, versions: [version(1), version(1, { primary: false })] },
  "two primaries": { purpose: USER, versions: [version(1), version(2)] },
  "no key id": { purpose: USER, versions: [{ ...version(1), keyId: undefined }] },
  "a key id that is too great": { purpose: USER, versions: [{ ...version(1), keyId: 2 ** 32 }] },
  "no purpose": { versions: [] },
  "versions that are none": { purpose: USER, versions: "none" },
};

for (const [what, keySet] of Object.entries(WRONG)) {
  test(`key sets with ${what} make no keys`, async () => {
    await assert.rejects(keysOf(keySet), KeySetError);
  });
}

test("a purpose that comes twice makes no keys", async () => {
  await assert.rejects(keysOf({ purpose: USER }, { purpose: USER }), KeySetError);
});

test("the answer of the KMS is read", async () => {
  const one = concat([
    encodeFixed32(1, 0xdeadbeef),
    encodeScalar(2, 2),
    encodeDelimited(3, new Uint8Array(32).fill(7)),
    encodeScalar(4, 1_790_000_000),
    encodeScalar(5, 1),
  ]);
  const keySet = concat([
    encodeDelimited(1, utf8(USER)),
    encodeDelimited(2, one),
    encodeDelimited(3, Uint8Array.of(1, 2)),
  ]);
  const keys = await PassportKeys.fromProtobuf(concat([encodeDelimited(1, keySet), encodeScalar(2, 9)]));
  assert.equal(keys.signer(USER).name, `${USER}:deadbeef`);
  assert.notEqual(keys.find(`${USER}:deadbeef`), null);
});

test("what is no answer of the KMS makes no keys", async () => {
  for (const bytes of [[0xff], [0x08, 0x01], [0x0a, 0x02, 0x08, 0x01], [0x0a, 0x03, 0x0a, 0x01, 0xff]]) {
    await assert.rejects(PassportKeys.fromProtobuf(Uint8Array.from(bytes)), KeySetError);
  }
});

test("uses are counted by key, and only of what was authentic", async () => {
  const keys = await keysOf({ purpose: USER, versions: [version(1), version(2, { primary: false })] });
  const signer = keys.signer(USER);
  const mac = await signer.sign(utf8("data"));
  assert.equal(await signer.verify(mac, utf8("data")), true);
  assert.equal(await signer.verify(mac, utf8("other")), false);
  assert.deepEqual(keys.takeUses(), [{ keyId: 1, count: 2 }]);
  assert.deepEqual(keys.takeUses(), []);
});
