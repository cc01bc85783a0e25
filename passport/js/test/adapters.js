/** What is asked of every server adapter alike: `contract(name, serve)` makes the tests of one. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { Level, UserAction } from "../src/index.js";
import { DOMAIN, NOW, ask, factory } from "./support.js";

const REFUSED = '{"reason":"passport_refused"}';
const ID = { requestId: "0".repeat(32) };
export const MADE = await factory.make(ID);
export const CHANGED = await factory.make({ ...ID, userActions: [UserAction.USER_PROFILE_SWITCHED] });
const NOBODY = await factory.make({ user: null });
const LOW = await factory.make({ user: { level: Level.LOW } });

/**
 * `serve(options, use)` runs a server of the adapter with `options` while `use` runs, which gets its URL. It answers
 * `/who` with the customer id, `/health` with "well", `/secure` (which requires level HIGH) with "secure", `/changed`
 * after the exchange adopted CHANGED, `/own` so too but with `X-Passport: own`, and `/broken` by throwing.
 */
export function contract(name, serve, options = {}) {
  const adapter = (what, how, use) => {
    test(`${name}: ${what}`, options, () =>
      serve({ keys: factory, trustDomain: DOMAIN, clock: () => NOW, ...how }, use),
    );
  };

  adapter("a handler gets the verified Passport", {}, async (url) => {
    const answer = await ask(url, "/who", [`X-Passport: ${MADE}`]);
    assert.deepEqual([answer.status, answer.body], [200, "1001"]);
  });

  const refused = [];
  adapter("x5 every refusal looks the same", { onRefused: (reason) => refused.push(reason) }, async (url) => {
    const cases = {
      missing: [],
      repeated: [`X-Passport: ${MADE}`, `x-passport: ${MADE}`],
      not_canonical: [`X-Passport: ${MADE}, ${MADE}`],
      malformed: ["X-Passport: AAAA"],
      bad_mac: [`X-Passport: ${await factory.forged()}`],
      expired: [`X-Passport: ${await factory.make({ ageS: 200 })}`],
    };
    const heads = new Set();
    for (const lines of Object.values(cases)) {
      const answer = await ask(url, "/who", lines);
      assert.deepEqual([answer.status, answer.body], [401, REFUSED]);
      heads.add(answer.head.replace(/^Date: .*\r?\n?/im, ""));
    }
    assert.equal(heads.size, 1);
    assert.deepEqual(refused, Object.keys(cases));
  });

  adapter("a Passport under another name is none", {}, async (url) => {
    for (const other of ["X_Passport", "Passport", "X-Passport-", "passport-bin", "Cookie"]) {
      assert.equal((await ask(url, "/who", [`${other}: ${MADE}`])).status, 401);
    }
  });

  adapter("without keys nothing is let through", { keys: { passportKeys: null } }, async (url) => {
    const answer = await ask(url, "/who", [`X-Passport: ${MADE}`]);
    assert.deepEqual([answer.status, answer.body], [503, '{"reason":"keys_unavailable"}']);
  });

  adapter("public paths need no Passport, and nothing that only looks like one passes", {}, async (url) => {
    assert.equal((await ask(url, "/health?x=1")).body, "well");
    for (const path of [
      "/health/../who",
      "//health",
      "/Health",
      "/health/",
      "/who?/health",
      "/health%3f",
      "/health;x",
    ]) {
      assert.equal((await ask(url, path)).status, 401, path);
    }
  });

  adapter("what is required is asked for", {}, async (url) => {
    const answers = [];
    for (const value of [MADE, LOW, NOBODY]) {
      const { status, body } = await ask(url, "/secure", [`X-Passport: ${value}`]);
      answers.push([status, body]);
    }
    assert.deepEqual(answers, [
      [200, "secure"],
      [403, '{"reason":"level_too_low"}'],
      [401, '{"reason":"no_user"}'],
    ]);
  });

  adapter("a response carries the Passport if it changed, once", {}, async (url) => {
    const passport = (head) => head.match(/^x-passport: .*$/gim) ?? [];
    const [line] = [`X-Passport: ${MADE}`];
    assert.deepEqual(passport((await ask(url, "/who", [line])).head), []);
    const [changed, ...others] = passport((await ask(url, "/changed", [line])).head);
    assert.equal(changed.split(": ")[1], CHANGED);
    assert.equal(others.length, 0);
    const own = passport((await ask(url, "/own", [line])).head);
    assert.deepEqual(
      own.map((each) => each.split(": ")[1]),
      ["own"],
    );
  });

  adapter("an error of the application stays its own", {}, async (url) => {
    const answer = await ask(url, "/broken", [`X-Passport: ${MADE}`]);
    assert.deepEqual([answer.status, /broken by itself/.test(answer.body)], [500, true]);
  });
}
