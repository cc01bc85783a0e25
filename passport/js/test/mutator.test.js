/** Changing the Passport of an exchange: what changes, what stays byte for byte, and who has signed it. */
import assert from "node:assert/strict";
import { test } from "node:test";

import {
  ExchangePassport,
  Level,
  PassportIntrospector,
  PassportMutator,
  SignerUnavailable,
  Source,
  UserAction,
} from "../src/index.js";
import { splitEnvelope } from "../src/integrity.js";
import { concat, encodeDelimited, utf8 } from "../src/wire.js";
import { DOMAIN, NOW, bytesOf, factory, keysOf, read, refusal, version } from "./support.js";

const AUTH = { purpose: "passport-auth", versions: [version(3)] };
const keys = await keysOf(AUTH);
const mutator = new PassportMutator(keys, "passport-auth", { clock: () => NOW + 5.5 });
const { USER_LOGIN, USER_LOGOUT, USER_PROFILE_SWITCHED, USER_CONSENT_GIVEN } = UserAction;

async function begin(options) {
  const value = await factory.make(options);
  return new ExchangePassport(await read(value, { acceptV1: true }));
}

function parts(value) {
  return splitEnvelope(bytesOf(value));
}

test("another user takes the place of the user", async () => {
  const exchange = await begin();
  const before = parts(exchange.headerValue);
  const user = { source: Source.USER_CREDENTIALS, level: Level.HIGHEST, customerId: 5n, accountOwnerId: 6n };
  const value = await mutator.replaceUser(exchange, user, [USER_LOGIN]);
  const after = parts(value);
  assert.deepEqual(after.header, before.header);
  assert.deepEqual(after.deviceInfo, before.deviceInfo);
  assert.deepEqual(after.deviceIntegrity, before.deviceIntegrity);
  assert.equal(after.userIntegrity.keyName, "passport-auth:00000003");
  const { passport } = exchange;
  assert.deepEqual([passport.customerId, passport.profileId, passport.actions], [5n, null, [USER_LOGIN]]);
  assert.deepEqual([passport.userCreated, passport.expires], [NOW + 5, NOW + 65]);
  assert.deepEqual([exchange.headerValue, exchange.isChanged], [value, true]);
});

test("what is made is good where its signer is named, and only there", async () => {
  const both = await begin();
  const value = await mutator.replaceUser(both, null, [USER_LOGOUT]);
  await assert.rejects(read(value), refusal("unknown_key"));
  const material = version(3).material;
  assert.ok(material);
  const { userIntegrity } = parts(value);
  const own = keys.signer("passport-auth");
  const { header, deviceInfo, userInfo } = parts(value);
  const framed = [utf8("passport-auth:00000003"), header, deviceInfo, userInfo].flatMap((each) => [
    Uint8Array.of(0, 0, each.length >> 8, each.length & 0xff),
    each,
  ]);
  assert.equal(await own.verify(userIntegrity.mac, concat([utf8("edge-passport v2 user\0"), ...framed])), true);
});

test("some of the user changes, and the rest stays, what is not known here too", async () => {
  const times = { created: NOW, expires: NOW + 60 };
  const { encodeDevice, encodeHeader, encodeUser } = await import("../src/parts.js");
  const userInfo = concat([
    encodeUser({ source: "COOKIE", level: 2, customerId: 9n, profileId: "a", sessionId: "s" }, times),
    encodeDelimited(99, utf8("newer")),
  ]);
  const header = encodeHeader({ requestId: "f".repeat(32), created: NOW, issuer: "e", trustDomain: DOMAIN });
  const raw = await factory.sign({ header, userInfo, deviceInfo: encodeDevice(null, times) });
  const exchange = new ExchangePassport(await read(raw));
  await mutator.changeUser(exchange, { profileId: "b" }, [USER_PROFILE_SWITCHED]);
  const value = await mutator.changeUser(exchange, { profileId: null, level: Level.LOW }, [USER_CONSENT_GIVEN]);
  const { passport } = exchange;
  assert.deepEqual([passport.customerId, passport.sessionId, passport.profileId], [9n, "s", null]);
  assert.deepEqual([passport.userLevel, passport.userSource], [Level.LOW, Source.COOKIE]);
  assert.deepEqual(passport.actions, [USER_PROFILE_SWITCHED, USER_CONSENT_GIVEN]);
  assert.ok(Buffer.from(parts(value).userInfo).includes(Buffer.from("newer")));
});

test("a device is signed with its user, for the user's MAC covers it", async () => {
  const exchange = await begin();
  const before = parts(exchange.headerValue);
  const value = await mutator.changeDevice(exchange, { deviceType: 9 }, ["DEVICE_RENAMED"]);
  const after = parts(value);
  assert.deepEqual(after.userInfo, before.userInfo);
  assert.deepEqual(
    [after.userIntegrity.keyName, after.deviceIntegrity.keyName],
    Array(2).fill("passport-auth:00000003"),
  );
  assert.deepEqual([exchange.passport.deviceType, exchange.passport.esn], [9, "TEST-0001"]);
  assert.deepEqual(exchange.passport.deviceActions, ["DEVICE_RENAMED"]);
  await mutator.replaceDevice(exchange, null, ["DEVICE_DEACTIVATED"]);
  assert.equal(exchange.passport.esn, null);
});

test("nobody changes a Passport that is bound to no request", async () => {
  const exchange = await begin({ integrityVersion: 1 });
  await assert.rejects(mutator.changeDevice(exchange, {}, ["DEVICE_RENAMED"]), refusal("version_not_accepted"));
  await assert.rejects(mutator.replaceUser(exchange, null, [USER_LOGOUT]), refusal("version_not_accepted"));
  assert.equal(exchange.isChanged, false);
});

test("two changes at a time are both kept", async () => {
  const exchange = await begin();
  await Promise.all([
    mutator.changeUser(exchange, {}, [USER_CONSENT_GIVEN]),
    mutator.changeUser(exchange, { profileId: "b" }, [USER_PROFILE_SWITCHED]),
    mutator.changeDevice(exchange, {}, ["DEVICE_RENAMED"]),
  ]);
  const { passport } = exchange;
  assert.deepEqual(passport.actions.toSorted(), [USER_CONSENT_GIVEN, USER_PROFILE_SWITCHED]);
  assert.deepEqual([passport.profileId, passport.deviceActions], ["b", ["DEVICE_RENAMED"]]);
});

test("what the edge would refuse is an error here", async () => {
  const exchange = await begin({ user: null, userActions: [USER_LOGOUT] });
  const user = { source: Source.COOKIE, level: Level.HIGH, customerId: 1n };
  const wrong = [
    () => mutator.replaceUser(exchange, user, []),
    () => mutator.replaceUser(exchange, user, undefined),
    () => mutator.replaceUser(exchange, user, [USER_LOGOUT]),
    () => mutator.replaceUser(exchange, user, [USER_LOGIN, USER_LOGIN]),
    () => mutator.replaceUser(exchange, user, ["DEVICE_RENAMED"]),
    () => mutator.replaceUser(exchange, user, ["UNKNOWN"]),
    () => mutator.replaceUser(exchange, { ...user, customer: 1n }, [USER_LOGIN]),
    () => mutator.replaceUser(exchange, { ...user, customerId: 2 ** 53 }, [USER_LOGIN]),
    () => mutator.replaceUser(exchange, { ...user, customerId: "1" }, [USER_LOGIN]),
    () => mutator.replaceUser(exchange, { ...user, level: "HIGH" }, [USER_LOGIN]),
    () => mutator.replaceUser(exchange, user, Object.values(UserAction).slice(1, 18)),
    () => mutator.changeUser(exchange, {}, [USER_CONSENT_GIVEN]),
  ];
  for (const [index, change] of wrong.entries()) await assert.rejects(change, TypeError, `case ${index}`);
  assert.equal(exchange.isChanged, false);
});

test("without a key of its own nothing is signed", async () => {
  const exchange = await begin();
  for (const source of [{ passportKeys: null }, await keysOf(), await keysOf({ ...AUTH, uses: ["OPEN"] })]) {
    const nobody = new PassportMutator(source, "passport-auth");
    await assert.rejects(nobody.replaceUser(exchange, null, [USER_LOGOUT]), SignerUnavailable);
  }
  assert.ok(exchange.passport instanceof PassportIntrospector);
});

test("what was adopted unverified is never signed", async () => {
  const exchange = await begin({ customerId: 1n });
  const forger = await keysOf({ purpose: "passport-auth", versions: [{ ...version(3), material: new Uint8Array(32) }] });
  const other = new ExchangePassport(exchange.received);
  const user = { source: Source.USER_CREDENTIALS, level: Level.HIGHEST, customerId: 666n, accountOwnerId: 666n };
  const value = await new PassportMutator(forger, "passport-auth").replaceUser(other, user, [USER_LOGIN]);
  assert.equal(await exchange.adopt(value), "adopted");
  await assert.rejects(mutator.changeUser(exchange, { profileId: "x" }, [USER_PROFILE_SWITCHED]), refusal("key_purpose"));
  assert.equal(exchange.headerValue, value);
});
