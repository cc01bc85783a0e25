/** The Passport of one exchange: newer ones are taken, older ones are counted, and none leaves the trust domain. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { Adoption, ExchangePassport, UserAction, propagatingFetch } from "../src/index.js";
import { factory, read, serving } from "./support.js";

const SAME = { requestId: "0".repeat(32) };
const { USER_LOGIN, USER_PROFILE_SWITCHED, USER_LOGOUT } = UserAction;

const received = await factory.make(SAME);
const loggedIn = await factory.make({ ...SAME, userActions: [USER_LOGIN] });
const switched = await factory.make({ ...SAME, userActions: [USER_LOGIN, USER_PROFILE_SWITCHED] });
const apart = await factory.make({ ...SAME, userActions: [USER_LOGOUT] });
const device = await factory.make({ ...SAME, userActions: [USER_LOGIN], deviceActions: ["DEVICE_REGISTERED"] });

async function exchange(options) {
  return new ExchangePassport(await read(received), options);
}

test("the one that came is passed on until there is a newer one", async () => {
  const own = await exchange();
  assert.deepEqual([own.headerValue, own.isChanged, own.stale], [received, false, 0]);
  assert.equal(await own.adopt(loggedIn), Adoption.ADOPTED);
  assert.deepEqual([own.headerValue, own.isChanged], [loggedIn, true]);
  assert.equal(await own.adopt(switched), Adoption.ADOPTED);
  assert.equal(own.headerValue, switched);
});

test("an older one is counted and changes nothing", async () => {
  const own = await exchange();
  await own.adopt(switched);
  for (const older of [received, loggedIn]) assert.equal(await own.adopt(older), Adoption.STALE);
  assert.deepEqual([own.headerValue, own.stale], [switched, 2]);
});

test("one that goes another way was built on an older one", async () => {
  const own = await exchange();
  await own.adopt(loggedIn);
  assert.equal(await own.adopt(apart), Adoption.STALE);
  assert.equal(own.headerValue, loggedIn);
});

test("parts are compared each by itself", async () => {
  const own = await exchange();
  assert.equal(await own.adopt(device), Adoption.ADOPTED);
  assert.equal(await own.adopt(switched), Adoption.STALE);
  assert.equal(own.headerValue, device);
});

test("the same one changes nothing", async () => {
  const own = await exchange();
  assert.equal(await own.adopt(received), Adoption.SAME);
  assert.equal(own.isChanged, false);
});

test("another identity without an action is not newer", async () => {
  const own = await exchange();
  const other = await factory.make({ ...SAME, user: { customerId: 5n } });
  assert.equal(await own.adopt(other), Adoption.STALE);
});

test("x7 one of another exchange, and what is no Passport, is refused", async () => {
  const said = [];
  const own = await exchange({ onReturned: (adoption) => said.push(adoption) });
  const others = [await factory.make({ userActions: [USER_LOGIN] }), "", "AAAA", `${loggedIn}, ${loggedIn}`, "\r\n"];
  for (const value of others) assert.equal(await own.adopt(value), Adoption.REFUSED);
  assert.deepEqual(said, Array(others.length).fill(Adoption.REFUSED));
  assert.deepEqual([own.headerValue, own.isChanged, own.stale], [received, false, 0]);
});

test("one that must be verified is believed afterwards, and refused otherwise", async () => {
  const own = await exchange({ verify: (bytes) => read(bytes) });
  assert.equal(await own.adopt(loggedIn), Adoption.ADOPTED);
  assert.deepEqual(own.passport.actions, [USER_LOGIN]);
  assert.deepEqual(own.received.actions, []);
  assert.equal(
    await own.adopt(await factory.forged({ ...SAME, userActions: [USER_LOGIN, USER_LOGOUT] })),
    Adoption.REFUSED,
  );
  assert.equal(own.headerValue, loggedIn);
  const unbelieved = await exchange();
  await unbelieved.adopt(loggedIn);
  assert.equal(unbelieved.passport, unbelieved.received);
});

test("of two that are verified at a time the older one does not win", async () => {
  const waiting = [];
  const own = await exchange({ verify: (bytes) => new Promise((go) => waiting.push(() => go(read(bytes)))) });
  const [first, second] = [own.adopt(loggedIn), own.adopt(switched)];
  waiting[1]();
  assert.equal(await second, Adoption.ADOPTED);
  waiting[0]();
  assert.equal(await first, Adoption.STALE);
  assert.equal(own.headerValue, switched);
});

test("an exchange begins with a verified Passport only", () => {
  assert.throws(() => new ExchangePassport({ headerValue: "x" }), TypeError);
});

test("fetch sends the newest Passport along and takes the one that comes back", async () => {
  const seen = [];
  const service = (request, response) => {
    seen.push(request.headers["x-passport"]);
    if (request.url === "/login") response.setHeader("X-Passport", loggedIn);
    if (request.url === "/late") response.setHeader("X-Passport", received);
    if (request.url === "/twice") response.setHeader("X-Passport", [switched, switched]);
    if (request.url === "/away") response.writeHead(302, { Location: "http://127.0.0.1:1/" });
    response.end("ok");
  };
  await serving(service, async (url) => {
    const own = await exchange();
    const call = propagatingFetch(own, { origins: [url] });
    assert.equal(await (await call(`${url}/login`, { method: "POST", body: "{}" })).text(), "ok");
    await (await call(new URL(`${url}/late`))).text();
    await (await call(new Request(`${url}/twice`))).text();
    assert.equal((await call(`${url}/away`)).status, 302);
    assert.deepEqual(seen, [received, loggedIn, loggedIn, loggedIn]);
    assert.deepEqual([own.headerValue, own.stale], [loggedIn, 1]);
  });
});

test("x6 fetch sends no Passport to an origin that is not named", async () => {
  let asked = 0;
  await serving(
    (_, response) => {
      asked++;
      response.end();
    },
    async (url) => {
      const own = await exchange();
      const call = propagatingFetch(own, { origins: ["http://127.0.0.1:1"] });
      await assert.rejects(call(url), TypeError);
      await assert.rejects(call(url.replace("http://", "http://127.0.0.1:1@")), TypeError);
      const twice = propagatingFetch(own, { origins: [url] });
      await assert.rejects(twice(url, { headers: { "x-passport": "mine" } }), TypeError);
      assert.equal(asked, 0);
    },
  );
});

test("errors that are not refusals are not swallowed", async () => {
  const own = await exchange({ verify: () => Promise.reject(new RangeError("a bug")) });
  await assert.rejects(own.adopt(loggedIn), RangeError);
});
