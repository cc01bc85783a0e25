/** Verifying and reading: what a service may rely on, and what it never gets to see. */
import assert from "node:assert/strict";
import { test } from "node:test";

import {
  DeviceAction,
  Level,
  PassportIntrospector,
  PassportRefusal,
  PassportRefused,
  RequirementNotMet,
  Source,
  UserAction,
  requireIdentity,
} from "../src/index.js";
import { encodeDevice, encodeHeader, encodeUser } from "../src/parts.js";
import { concat, encodeDelimited, encodeScalar, encodeVarint, utf8 } from "../src/wire.js";
import { DOMAIN, NOW, bytesOf, factory, keysOf, read, refusal, seeded, version } from "./support.js";

const MADE = await factory.make();
const TIMES = { created: NOW, expires: NOW + 60 };
const OVER = { created: NOW - 200, expires: NOW - 100 };
const PARTS = {
  header: encodeHeader({ requestId: "f".repeat(32), created: NOW, issuer: "edge-1", trustDomain: DOMAIN }),
  userInfo: encodeUser(null, TIMES),
  deviceInfo: encodeDevice(null, TIMES),
};

function signed(changes) {
  return factory.sign({ ...PARTS, ...changes });
}

test("a user on a device is read", async () => {
  const user = {
    customerId: 2n ** 63n - 1n,
    accountOwnerId: 17n,
    profileId: "profil-ü",
    sessionId: "s",
    rescheduled: true,
  };
  const device = { source: Source.MSL, level: Level.HIGHEST, esn: "ESN-1", deviceType: 7 };
  const how = { user, device, userActions: [UserAction.USER_LOGIN], requestId: "0".repeat(32) };
  const value = await factory.make(how);
  const passport = await read(value);
  assert.equal(passport.customerId, 2n ** 63n - 1n);
  assert.equal(passport.accountOwnerId, 17n);
  assert.equal(passport.profileId, "profil-ü");
  assert.equal(passport.sessionId, "s");
  assert.equal(passport.rescheduled, true);
  assert.equal(passport.userSource, Source.COOKIE);
  assert.equal(passport.userLevel, Level.HIGH);
  assert.deepEqual(passport.actions, [UserAction.USER_LOGIN]);
  assert.deepEqual(passport.deviceActions, []);
  assert.equal(passport.deviceSource, Source.MSL);
  assert.equal(passport.deviceLevel, Level.HIGHEST);
  assert.equal(passport.esn, "ESN-1");
  assert.equal(passport.deviceType, 7);
  assert.deepEqual([passport.created, passport.userCreated, passport.deviceCreated], [NOW, NOW, NOW]);
  assert.deepEqual([passport.expires, passport.deviceExpires], [NOW + 60, NOW + 60]);
  assert.equal(passport.requestId, "0".repeat(32));
  assert.equal(passport.trustDomain, DOMAIN);
  assert.equal(passport.headerValue, value);
  assert.deepEqual(passport.received, bytesOf(value));
});

test("nobody is signed too", async () => {
  const passport = await read(await factory.make({ user: null, device: null }));
  assert.equal(passport.isAuthenticated, false);
  assert.deepEqual([passport.customerId, passport.esn, passport.deviceType], [null, null, null]);
  assert.deepEqual([passport.userSource, passport.userLevel], [Source.NONE, Level.UNSPECIFIED]);
});

test("what is unknown is said to be unknown, and passes no requirement", async () => {
  const user = concat([encodeUser({ source: "COOKIE", level: 0, customerId: 1n }, TIMES), encodeScalar(11, 99)]);
  const passport = await read(await signed({ userInfo: concat([user, encodeDelimited(12, encodeVarint(9999))]) }));
  assert.equal(passport.userLevel, Level.UNSPECIFIED);
  assert.deepEqual(passport.actions, ["UNKNOWN"]);
  assert.equal(passport.isAuthenticated, false);
  assert.throws(() => passport.requireUserLevel(Level.UNSPECIFIED), refusal("level_too_low"));
});

test("fields of a newer schema pass, and stay covered by the MAC", async () => {
  const deviceInfo = concat([PARTS.deviceInfo, encodeDelimited(99, utf8("new"))]);
  const raw = await signed({ deviceInfo });
  assert.deepEqual((await read(raw)).received, raw);
  raw[raw.indexOf("n".charCodeAt(0), PARTS.header.length)] ^= 1;
  await assert.rejects(read(raw), PassportRefused);
});

test("a caller that changes its bytes while they are verified does not change what is read", async () => {
  const raw = bytesOf(MADE);
  const reading = read(raw);
  raw.fill(0);
  assert.equal((await reading).customerId, 1001n);
});

test("what is given out cannot be used to change what was verified", async () => {
  const passport = await read(MADE);
  passport.received.fill(0);
  passport.actions.push("USER_LOGOUT");
  assert.equal(passport.headerValue, MADE);
  assert.deepEqual(passport.actions, []);
  assert.throws(() => {
    passport.customerId = 1n;
  }, TypeError);
});

const REFUSED = {
  missing: [() => "", () => null, () => undefined],
  too_long: [() => "A".repeat(21_852), () => Buffer.alloc(16_385).toString("base64"), () => "é".repeat(30_000)],
  not_canonical: [
    () => `${MADE}\n`,
    () => ` ${MADE}`,
    () => `${MADE}=`,
    () => "AAA",
    () => "AAB=",
    () => "AAAA====",
    () => "-_-_",
    () => "ÿÿÿÿ",
    () => `${MADE}, ${MADE}`,
    () => 17,
    () => ["a"],
    () => ({}),
  ],
  malformed: [
    () => "AAAA",
    () => bytesOf(MADE).slice(0, -1),
    () => concat([bytesOf(MADE), Uint8Array.of(0)]),
    () => concat([bytesOf(MADE), bytesOf(MADE)]),
    () => new Uint8Array(0),
  ],
  bad_mac: [() => factory.forged()],
  version_not_accepted: [() => factory.make({ integrityVersion: 1 })],
  trust_domain: [() => factory.make({ trustDomain: "other" }), () => factory.make({ trustDomain: "" })],
  expired: [
    () => factory.make({ ageS: 121 }),
    () => signed({ userInfo: encodeUser(null, OVER) }),
    () => signed({ deviceInfo: encodeDevice(null, OVER) }),
  ],
  not_yet_valid: [
    () => factory.make({ ageS: -61 }),
    () => signed({ userInfo: encodeUser(null, { created: NOW + 61, expires: NOW + 99 }) }),
    () => signed({ deviceInfo: encodeDevice(null, { created: NOW + 61, expires: NOW + 99 }) }),
  ],
  too_old: [
    () => factory.make({ ageS: 301, ttlS: 3600 }),
    () => signed({ userInfo: encodeUser(null, { created: NOW - 301, expires: NOW + 60 }) }),
    () => signed({ deviceInfo: encodeDevice(null, { created: NOW - 301, expires: NOW + 60 }) }),
  ],
  inconsistent_part: [
    () => factory.make({ ttlS: 0 }),
    () => signed({ deviceInfo: encodeDevice(null, { created: NOW, expires: NOW }) }),
    () => factory.make({ user: { source: Source.NONE } }),
    () => factory.make({ device: { esn: null } }),
  ],
  malformed_part: [
    () => signed({ userInfo: concat([PARTS.userInfo, PARTS.userInfo]) }),
    () => signed({ userInfo: concat([PARTS.userInfo, Uint8Array.of(0x08, 0x81, 0x00)]) }),
    () => signed({ userInfo: concat([PARTS.userInfo, Uint8Array.of(0x0d, 0, 0, 0, 0)]) }),
    () => signed({ header: concat([PARTS.header, Uint8Array.of(0x2b)]) }),
    () => signed({ header: concat([encodeDelimited(1, Uint8Array.of(0xff)), encodeDelimited(4, utf8(DOMAIN))]) }),
    () => signed({ deviceInfo: concat([PARTS.deviceInfo, encodeDelimited(7, new Uint8Array(17).fill(1))]) }),
    () => signed({ userInfo: concat([PARTS.userInfo, ...Array(17).fill(encodeScalar(12, 1))]) }),
    () => signed({ userInfo: concat([PARTS.userInfo, encodeDelimited(4, Uint8Array.of(8, 1, 8, 2))]) }),
  ],
};

for (const [reason, cases] of Object.entries(REFUSED)) {
  test(`refused as ${reason}`, async () => {
    for (const [index, make] of cases.entries()) {
      await assert.rejects(read(await make()), refusal(reason), `case ${index}`);
    }
  });
}

test("x1 no key, another key, and a key for the other part are told apart", async () => {
  const only = await keysOf({ purpose: "passport-device", versions: [version(2)] });
  const options = { now: NOW, trustDomain: DOMAIN };
  await assert.rejects(PassportIntrospector.fromBase64(MADE, only, options), refusal("bad_mac"));
  const none = await keysOf();
  await assert.rejects(PassportIntrospector.fromBase64(MADE, none, options), refusal("unknown_key"));
});

test("the published integrity is accepted where it is asked for", async () => {
  const old = await factory.make({ integrityVersion: 1 });
  assert.equal((await read(old, { acceptV1: true })).customerId, 1001n);
  await assert.rejects(read(old, { acceptV1: "yes" }), refusal("version_not_accepted"));
});

test("a text with a byte order mark is not the text without", async () => {
  await assert.rejects(read(await factory.make({ trustDomain: `\ufeff${DOMAIN}` })), refusal("trust_domain"));
  const passport = await read(await factory.make({ user: { profileId: "\ufeffp" } }));
  assert.equal(passport.profileId, "\ufeffp");
});

test("x4 clocks may differ by a minute, and not by more", async () => {
  assert.equal((await read(MADE, { now: NOW + 120 })).customerId, 1001n);
  assert.equal((await read(MADE, { now: NOW - 60 })).customerId, 1001n);
  await assert.rejects(read(MADE, { now: NOW + 120.5 }), refusal("expired"));
  await assert.rejects(read(MADE, { now: NOW - 60.5 }), refusal("not_yet_valid"));
});

test("arguments that would let anything pass are errors", async () => {
  const keys = factory.passportKeys;
  const wrong = [{ trustDomain: DOMAIN, now: NaN }, { trustDomain: DOMAIN, maxAgeS: NaN }, { now: NOW }, {}];
  for (const options of wrong) await assert.rejects(PassportIntrospector.fromBase64(MADE, keys, options), TypeError);
  for (const none of [null, undefined, {}, { find: () => ({ verify: () => true }) }]) {
    await assert.rejects(PassportIntrospector.fromBase64(MADE, none, { trustDomain: DOMAIN, now: NOW }), TypeError);
  }
  await assert.rejects(PassportIntrospector.fromBytes(MADE, keys, { trustDomain: DOMAIN }), TypeError);
});

test("requirements", async () => {
  const high = await read(MADE);
  const nobody = await read(await factory.make({ user: null }));
  const alone = await read(await factory.make({ device: null }));
  const weak = await read(await factory.make({ user: { level: Level.LOW }, device: { level: Level.LOW } }));
  requireIdentity(high);
  requireIdentity(high, { level: Level.HIGH, device: true });
  requireIdentity(nobody, { level: Level.HIGH, user: false, device: true });
  const cases = [
    [nobody, {}, "no_user", 401],
    [alone, { device: true }, "no_device", 403],
    [alone, { user: false, device: true }, "no_device", 403],
    [weak, { level: Level.HIGH }, "level_too_low", 403],
    [weak, { level: Level.HIGH, user: false, device: true }, "level_too_low", 403],
    [high, { level: Level.HIGHEST }, "level_too_low", 403],
  ];
  for (const [passport, asked, reason, status] of cases) {
    assert.throws(
      () => requireIdentity(passport, asked),
      (error) => error instanceof RequirementNotMet && error.reason === reason && error.status === status,
    );
  }
  for (const level of [undefined, null, "HIGH", NaN, 4, -1, 1.5]) {
    if (level !== undefined) assert.throws(() => requireIdentity(high, { level }), TypeError);
    assert.throws(() => high.requireUserLevel(level), TypeError);
    assert.throws(() => high.requireDeviceLevel(level), TypeError);
  }
  assert.throws(() => requireIdentity(high, { user: false }), TypeError);
  high.requireUserLevel(Level.HIGH);
  high.requireDeviceLevel(Level.HIGH);
  assert.throws(() => high.requireUserLevel(Level.HIGHEST), refusal("level_too_low"));
  assert.throws(() => alone.requireDeviceLevel(Level.LOW), refusal("level_too_low"));
});

test("a part that a service has signed is believed where its signer is named", async () => {
  const both = await keysOf(
    { purpose: "passport-user", versions: [version(1)] },
    { purpose: "passport-device", versions: [version(2)] },
    { purpose: "passport-auth", versions: [version(3)] },
  );
  const { joinEnvelope, sign } = await import("../src/integrity.js");
  const raw = joinEnvelope({
    ...PARTS,
    userIntegrity: await sign(both.signer("passport-auth"), 2n, "user", PARTS),
    deviceIntegrity: await sign(both.signer("passport-device"), 2n, "device", PARTS),
  });
  const options = { now: NOW, trustDomain: DOMAIN };
  await assert.rejects(PassportIntrospector.fromBytes(raw, both, options), refusal("key_purpose"));
  const wrong = { ...options, deviceSigners: ["passport-auth"] };
  await assert.rejects(PassportIntrospector.fromBytes(raw, both, wrong), refusal("key_purpose"));
  const right = { ...options, userSigners: ["passport-auth"] };
  assert.equal((await PassportIntrospector.fromBytes(raw, both, right)).customerId, null);
});

// Hostile input: whatever comes, the one error is PassportRefused, with a reason that is known.
const REASONS = new Set(Object.values(PassportRefusal));

async function acceptedOrRefused(value) {
  try {
    return await read(value);
  } catch (error) {
    const shown = value instanceof Uint8Array ? Buffer.from(value).toString("base64") : value;
    assert.ok(error instanceof PassportRefused && REASONS.has(error.reason), `${shown}: ${error.stack}`);
    return null;
  }
}

function mutated(bytes, random) {
  const changed = [...bytes];
  for (let times = 1 + (random() % 3); times > 0; times--) {
    const at = random() % (changed.length + 1);
    const kind = random() % 5;
    if (kind === 0) changed.splice(at, random() % 8);
    if (kind === 1) changed.splice(at, 0, ...Array.from({ length: random() % 8 }, () => random() & 0xff));
    if (kind === 2 && at < changed.length) changed[at] ^= 1 << (random() % 8);
    if (kind === 3) changed.splice(at, 0, ...Array(random() % 12).fill(0xff));
    if (kind === 4) changed.splice(at, 0, ...changed.slice(random() % (at + 1), at));
  }
  return Uint8Array.from(changed);
}

test("x3 random bytes and texts are refused, and throw nothing else", async () => {
  const random = seeded(3);
  for (let round = 0; round < 1_000; round++) {
    const data = Uint8Array.from({ length: random() % 200 }, () => random() & 0xff);
    assert.equal(await acceptedOrRefused(data), null);
    assert.equal(await acceptedOrRefused(Buffer.from(data).toString("latin1")), null);
    assert.equal(await acceptedOrRefused(Buffer.from(data).toString("base64")), null);
  }
});

test("x1 a Passport that was changed anywhere is refused", async () => {
  const random = seeded(4);
  const whole = bytesOf(MADE);
  for (let end = 0; end < whole.length; end++) assert.equal(await acceptedOrRefused(whole.slice(0, end)), null);
  for (let bit = 0; bit < whole.length * 8; bit++) {
    const changed = Uint8Array.from(whole);
    changed[bit >> 3] ^= 1 << (bit & 7);
    assert.equal(await acceptedOrRefused(changed), null, `bit ${bit}`);
  }
  for (let round = 0; round < 1_000; round++) {
    const changed = mutated(whole, random);
    const passport = await acceptedOrRefused(changed);
    if (Buffer.compare(changed, whole) !== 0) assert.equal(passport, null);
  }
});

test("x3 whatever a signer signs is read or refused", async () => {
  const random = seeded(5);
  const good = {
    header: PARTS.header,
    userInfo: encodeUser({ source: "COOKIE", level: 2, customerId: 7n, profileId: "p" }, { ...TIMES, actions: [1] }),
    deviceInfo: encodeDevice({ source: "MSL", level: 2, esn: "E", deviceType: 1 }, TIMES),
  };
  let accepted = 0;
  for (let round = 0; round < 1_500; round++) {
    const part = ["header", "userInfo", "deviceInfo"][random() % 3];
    const changed = mutated(good[part], random);
    const passport = await acceptedOrRefused(await signed({ ...good, [part]: changed }));
    if (passport === null) continue;
    accepted++;
    for (const property of Object.keys(Object.getOwnPropertyDescriptors(PassportIntrospector.prototype)))
      passport[property];
  }
  assert.ok(accepted > 10, `only ${accepted} were accepted: nothing of reading was tried`);
});

test("x3 deep nesting, great lengths and 16 KiB of anything are refused in no time", async () => {
  let deep = Uint8Array.of(8, 1);
  for (let depth = 0; depth < 3_000; depth++) deep = encodeDelimited(4, deep);
  assert.equal(await acceptedOrRefused(await signed({ userInfo: deep })), null);
  const fields = concat(Array(5_000).fill(Uint8Array.of(0x78, 1)));
  assert.equal(
    (await acceptedOrRefused(await signed({ userInfo: concat([PARTS.userInfo, fields]) })))?.customerId,
    null,
  );
  const long = await signed({ userInfo: encodeDelimited(99, new Uint8Array(17_000)) });
  await assert.rejects(read(long), refusal("too_long"));
});

test("names of the two enumerations of actions do not mix", async () => {
  await assert.rejects(factory.make({ userActions: [DeviceAction.DEVICE_REGISTERED] }), TypeError);
  await assert.rejects(factory.make({ userActions: ["constructor"] }), TypeError);
  await assert.rejects(factory.make({ user: { customerId: 2 ** 53 } }), TypeError);
});
