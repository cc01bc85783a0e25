/** The adapter of node:http, over real sockets. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { exchangeOf, passportListener, passportOf } from "../src/http.js";
import { Level, RequirementNotMet, requireIdentity } from "../src/index.js";
import { CHANGED, contract } from "./adapters.js";
import { factory, serving } from "./support.js";

async function handle(request, response) {
  const path = request.url.split("?")[0];
  if (path === "/health") return response.end("well");
  if (path === "/who") return response.end(String(passportOf(request).customerId));
  if (path === "/secure") {
    requireIdentity(passportOf(request), { level: Level.HIGH });
    return response.end("secure");
  }
  if (path === "/broken") throw new Error("broken by itself");
  await exchangeOf(request).adopt(CHANGED);
  if (path === "/own") response.setHeader("X-Passport", "own");
  return response.end("changed");
}

async function answering(request, response) {
  try {
    await handle(request, response);
  } catch (error) {
    response.statusCode = error instanceof RequirementNotMet ? error.status : 500;
    response.end(error instanceof RequirementNotMet ? JSON.stringify({ reason: error.reason }) : error.message);
  }
}

contract("node:http", (options, use) => serving(passportListener(options, answering), use));

test("a request that did not go through an adapter has no Passport", () => {
  assert.throws(() => passportOf({}), /no verified Passport/);
  assert.throws(() => passportOf({ passport: { customerId: 1n } }), /no verified Passport/);
});

test("options that would let anything pass are errors", () => {
  const good = { keys: factory, trustDomain: "test" };
  const wrong = [{ keys: undefined }, { keys: {} }, { trustDomain: undefined }, { publicPaths: "/health" }];
  for (const each of wrong) assert.throws(() => passportListener({ ...good, ...each }, () => {}), TypeError);
});
