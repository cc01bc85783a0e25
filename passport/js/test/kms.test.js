/** Keys from the KMS, over real sockets: fetched, refreshed, kept while it is away. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { KeySource, KeysLost, KmsClient, KmsRefused, KmsUnavailable } from "../src/index.js";
import { concat, encodeDelimited, encodeFixed32, encodeScalar, readFields, utf8 } from "../src/wire.js";
import { serving } from "./support.js";

const TOKEN = "hush-hush-token";
const STATES = { PRE_ACTIVE: 1, ACTIVE: 2, DEACTIVATED: 3, DESTROYED: 4 };

function keySet(purpose, states) {
  const versions = Object.entries(states).map(([keyId, state]) =>
    encodeDelimited(
      2,
      concat([
        encodeFixed32(1, Number(keyId)),
        encodeScalar(2, STATES[state]),
        ...(state === "DESTROYED" ? [] : [encodeDelimited(3, new Uint8Array(32).fill(Number(keyId)))]),
        encodeScalar(5, state === "ACTIVE" ? 1 : 0),
      ]),
    ),
  );
  return encodeDelimited(1, concat([encodeDelimited(1, utf8(purpose)), ...versions]));
}

function answer(revision, user = { 1: "ACTIVE" }) {
  return concat([keySet("passport-user", user), keySet("passport-device", { 2: "ACTIVE" }), encodeScalar(2, revision)]);
}

/** A KMS that says what it is told to say. */
class Kms {
  status = 200;
  failures = 0;
  body = answer(1);
  asked = [];

  listener = async (request, response) => {
    const pieces = [];
    for await (const piece of request) pieces.push(piece);
    this.asked.push({ headers: request.headers, url: request.url, body: new Uint8Array(Buffer.concat(pieces)) });
    if (this.failures-- > 0) return response.writeHead(503).end();
    if (this.status === "silent") return;
    if (this.status === "cut") {
      response.writeHead(200, { "Content-Length": "1000" }).write("x");
      response.destroy();
      return;
    }
    response.writeHead(this.status, this.status === 302 ? { Location: "/elsewhere" } : {});
    response.end(this.body);
  };

  get last() {
    const fields = readFields(this.asked.at(-1).body);
    const texts = (number) => fields.filter((field) => field.number === number).map((field) => field.content);
    return {
      purposes: texts(1).map((content) => Buffer.from(content).toString()),
      holder: Buffer.from(texts(2)[0] ?? []).toString(),
      revisionHeld: fields.find((field) => field.number === 3)?.value ?? 0n,
      uses: texts(4).map((content) =>
        readFields(content).map(({ value, content: id }) => (id.length ? id[0] : Number(value))),
      ),
    };
  }
}

async function withKms(use) {
  const kms = new Kms();
  await serving(kms.listener, (url) => use(kms, new KmsClient({ url: `${url}/`, token: TOKEN, timeoutS: 20 }), url));
}

test("keys are fetched with the caller's token and said to be held", () =>
  withKms(async (kms, client) => {
    const source = await KeySource.start(client, { refreshS: 3600, clock: () => 1_790_000_000.5 });
    assert.deepEqual(kms.last.purposes, ["passport-user", "passport-device"]);
    assert.equal(kms.asked[0].headers.authorization, `Bearer ${TOKEN}`);
    assert.equal(kms.asked[0].url, "/v1/key-sets");
    assert.match(kms.last.holder, /^[A-Za-z0-9._:-]{10,64}$/);
    assert.deepEqual([kms.last.revisionHeld, kms.last.uses], [0n, []]);
    const key = source.passportKeys.find("passport-user:00000001");
    await key.sign(utf8("x"));
    kms.body = answer(7);
    await source.refresh();
    assert.deepEqual([kms.last.revisionHeld, kms.last.uses], [1n, [[1, 1_790_000_000, 1]]]);
    await source.refresh();
    assert.deepEqual([kms.last.revisionHeld, kms.last.uses], [7n, []]);
    await source.close();
  }));

test("uses that could not be reported are reported later", () =>
  withKms(async (kms, client) => {
    const source = await KeySource.start(client, { refreshS: 3600, clock: () => 5 });
    await source.passportKeys.find("passport-user:00000001").sign(utf8("x"));
    kms.status = 503;
    await assert.rejects(source.refresh(), KmsUnavailable);
    await source.passportKeys.find("passport-user:00000001").sign(utf8("x"));
    kms.status = 200;
    await source.refresh();
    assert.deepEqual(kms.last.uses, [[1, 5, 2]]);
    await source.close();
  }));

test("new keys come by themselves, and the old ones stay while the KMS is away", () =>
  withKms(async (kms, client) => {
    const problems = [];
    const source = await KeySource.start(client, { refreshS: 0.01, onProblem: (problem) => problems.push(problem) });
    const until = async (condition) => {
      while (!condition()) await new Promise((again) => setTimeout(again, 5));
    };
    kms.body = answer(2, { 1: "DEACTIVATED", 3: "ACTIVE" });
    await until(() => source.passportKeys.find("passport-user:00000003") !== null);
    kms.status = 500;
    await until(() => problems.length > 0);
    assert.ok(problems[0] instanceof KmsUnavailable);
    assert.notEqual(source.passportKeys.find("passport-user:00000003"), null);
    kms.status = 200;
    kms.body = answer(3, { 1: "DESTROYED", 3: "ACTIVE" });
    await until(() => source.passportKeys.find("passport-user:00000001") === null);
    await source.close();
  }));

test("a destroyed key does not come back", () =>
  withKms(async (kms, client) => {
    const source = await KeySource.start(client, { refreshS: 3600 });
    kms.body = answer(2, { 1: "DESTROYED", 3: "ACTIVE" });
    await source.refresh();
    kms.body = answer(3, { 1: "ACTIVE", 3: "PRE_ACTIVE" });
    await source.refresh();
    assert.equal(source.passportKeys.find("passport-user:00000001"), null);
    assert.equal(source.passportKeys.signer("passport-user"), null);
    await source.close();
  }));

test("the answer of a store that was lost is not taken", () =>
  withKms(async (kms, client) => {
    const source = await KeySource.start(client, { refreshS: 3600 });
    const held = source.passportKeys;
    kms.body = answer(9, { 8: "ACTIVE" });
    await assert.rejects(source.refresh(), (error) => error instanceof KeysLost && error.keyIds[0] === "00000001");
    assert.equal(source.passportKeys, held);
    await source.close();
  }));

test("keys that cannot be used change nothing", () =>
  withKms(async (kms, client) => {
    const source = await KeySource.start(client, { refreshS: 3600 });
    const held = source.passportKeys;
    kms.body = concat([answer(2), keySet("passport-user", { 1: "ACTIVE" })]);
    await assert.rejects(source.refresh(), { name: "KeySetError" });
    assert.equal(source.passportKeys, held);
    await source.close();
  }));

const ANSWERS = {
  "an unknown token": [401, encodeDelimited(1, utf8("unknown_identity")), KmsRefused],
  "a purpose that is not granted": [403, encodeDelimited(1, utf8("not_granted")), KmsRefused],
  "somebody else's 401": [401, utf8("<html>"), KmsUnavailable],
  "a reason that is none": [403, encodeDelimited(1, utf8("<b>No!</b>")), KmsUnavailable],
  "an error": [500, utf8(""), KmsUnavailable],
  "a redirect": [302, utf8(""), KmsUnavailable],
  nonsense: [200, utf8("nonsense"), KmsUnavailable],
  "too few key sets": [200, keySet("passport-user", { 1: "ACTIVE" }), KmsUnavailable],
  "a mebibyte and more": [200, concat([answer(1), encodeDelimited(99, new Uint8Array(1 << 20))]), KmsUnavailable],
  "an answer that is cut": ["cut", utf8(""), KmsUnavailable],
};

for (const [what, [status, body, error]] of Object.entries(ANSWERS)) {
  test(`the KMS answers with ${what}`, () =>
    withKms(async (kms, client) => {
      Object.assign(kms, { status, body });
      await assert.rejects(
        client.keySets(["passport-user", "passport-device"]),
        (thrown) => thrown instanceof error && !`${thrown.stack}${thrown.cause}`.includes(TOKEN),
      );
      assert.equal(kms.asked.length, 1);
    }));
}

test("a KMS that does not answer is given up", () =>
  withKms(async (kms, _, url) => {
    kms.status = "silent";
    const client = new KmsClient({ url, token: TOKEN, timeoutS: 0.05 });
    await assert.rejects(client.keySets(["passport-user"]), {
      name: "KmsUnavailable",
      message: /did not answer in 0.05 s/,
    });
  }));

test("a KMS that is not there is waited for, and a refusal is not", () =>
  withKms(async (kms, client) => {
    kms.failures = 2;
    const source = await KeySource.start(client, { refreshS: 3600 });
    assert.equal(kms.asked.length, 3);
    await source.close();
    kms.status = 503;
    await assert.rejects(KeySource.start(client, { patienceS: 0 }), KmsUnavailable);
    Object.assign(kms, { status: 401, body: encodeDelimited(1, utf8("unknown_identity")) });
    await assert.rejects(KeySource.start(client, { patienceS: 3600 }), KmsRefused);
  }));
