/** No token, key or identity is in what is printed, logged or written as JSON. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { format, inspect } from "node:util";

import { ExchangePassport, KeySource, KmsClient } from "../src/index.js";
import { PassportReceiver } from "../src/receiving.js";
import { factory, keysOf, read, version } from "./support.js";

const TOKEN = "hush-hush-token";

function shown(value) {
  const texts = [
    inspect(value, { depth: 9, showHidden: true }),
    format("%o %O %s", value, value, value),
    String(value),
  ];
  return [...texts, JSON.stringify(value), JSON.stringify({ ...value })].join("\n");
}

test("a Passport names nobody", async () => {
  const user = {
    customerId: 123456789012345n,
    accountOwnerId: 123456789012346n,
    profileId: "hush-p",
    sessionId: "hush-s",
  };
  const value = await factory.make({ user, device: { esn: "hush-esn" }, requestId: "abc" });
  const passport = await read(value);
  const exchange = new ExchangePassport(passport);
  for (const each of [passport, exchange, { passport }, [exchange]]) {
    const text = shown(each);
    assert.doesNotMatch(text, /12345678901234|hush-/);
    assert.ok(!text.includes(value.slice(0, 40)));
  }
  assert.equal(inspect(passport), "PassportIntrospector(request abc, user COOKIE/HIGH, device COOKIE/HIGH)");
});

test("keys and tokens do not come out", async () => {
  const material = Buffer.alloc(32, "q").toString("base64");
  const keys = await keysOf({ purpose: "passport-user", versions: [{ ...version(1), material }] });
  const client = new KmsClient({ url: "http://127.0.0.1:1", token: TOKEN });
  const receiver = new PassportReceiver({ keys, trustDomain: "test" });
  for (const each of [keys, keys.signer("passport-user"), client, new KeySource(client), receiver]) {
    const text = shown(each);
    assert.ok(!text.includes(TOKEN) && !text.includes(material) && !text.includes("qqqq"), text);
    assert.doesNotMatch(text, /CryptoKey/);
  }
  assert.equal(inspect(keys), "PassportKeys(passport-user:00000001)");
});

test("an error says the reason and nothing else", async () => {
  const value = await factory.forged({ user: { profileId: "hush-p" } });
  await assert.rejects(read(value), (error) => {
    assert.equal(error.message, "bad_mac");
    assert.doesNotMatch(shown(error), /hush-/);
    return !shown(error).includes(value.slice(0, 40));
  });
});
