/** The factory that other teams' tests use. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { Level, PassportIntrospector, Source } from "../src/index.js";
import { PassportFactory } from "../src/testing.js";
import { refusal } from "./support.js";

test("what it makes is good now, and only under its own keys", async () => {
  const [factory, other] = [await PassportFactory.create(), await PassportFactory.create()];
  const options = { trustDomain: factory.trustDomain };
  const value = await factory.make({ user: { source: Source.PARTNER_TOKEN, level: Level.LOW, profileId: null } });
  const passport = await PassportIntrospector.fromBase64(value, factory.passportKeys, options);
  assert.deepEqual([passport.userSource, passport.userLevel, passport.profileId], ["PARTNER_TOKEN", Level.LOW, null]);
  await assert.rejects(PassportIntrospector.fromBase64(value, other.passportKeys, options), refusal("bad_mac"));
});

test("what must be refused can be made too", async () => {
  const factory = await PassportFactory.create();
  const cases = {
    expired: await factory.make({ ageS: 200 }),
    bad_mac: await factory.forged({ user: null }),
    trust_domain: await factory.make({ trustDomain: "elsewhere" }),
    version_not_accepted: await factory.make({ integrityVersion: 1 }),
  };
  for (const [reason, value] of Object.entries(cases)) {
    const reading = PassportIntrospector.fromBase64(value, factory.passportKeys, { trustDomain: factory.trustDomain });
    await assert.rejects(reading, refusal(reason));
  }
});
