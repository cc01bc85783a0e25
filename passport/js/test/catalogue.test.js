/** The catalogue of actions, as it was generated. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { CATALOGUE, DeviceAction, Level, UserAction } from "../src/index.js";
import { actionNumber, actionOf } from "../src/actions.js";

test("every action has its row, and reads back from its number", () => {
  const names = { user: Object.values(UserAction), device: Object.values(DeviceAction) };
  const actions = [...names.user, ...names.device].filter((name) => name !== "UNKNOWN");
  assert.ok(actions.length >= 30);
  assert.deepEqual(actions.toSorted(), Object.keys(CATALOGUE).sort());
  for (const name of actions) {
    const { part, number, level } = CATALOGUE[name];
    assert.ok(names[part].includes(name));
    assert.equal(actionOf(part, number), name);
    assert.equal(actionNumber(part, name), number);
    assert.ok(level === null || Object.values(Level).includes(level));
  }
  assert.deepEqual([actionOf("user", 0), actionOf("device", 9999)], ["UNKNOWN", "UNKNOWN"]);
});

test("it cannot be changed", () => {
  assert.throws(() => {
    CATALOGUE.USER_LOGIN.level = Level.HIGHEST;
  }, TypeError);
});
