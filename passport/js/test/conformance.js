/**
 * What this library makes of every golden vector: `node passport/js/test/conformance.js [FILE…]`.
 *
 * Prints a line for each as `python -m tests.passport.conformance` does; its docstring says what is in it. Without
 * FILEs it reads those of tests/vectors/passport, in the order of their names.
 */
import { readFileSync, readdirSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";

import { PassportIntrospector, PassportKeys, PassportRefused, levelName } from "../src/index.js";
import { partsOf } from "../src/introspector.js";

const DIRECTORY = fileURLToPath(new URL("../../../tests/vectors/passport", import.meta.url));

function files() {
  const named = process.argv.slice(2);
  if (named.length > 0) return named;
  const found = readdirSync(DIRECTORY).filter((name) => name.endsWith(".json"));
  return found.sort().map((name) => join(DIRECTORY, name));
}

function keysOf(document) {
  const keySets = Object.entries(document.key_material_hex).map(([name, material]) => {
    const [purpose, keyId] = name.split(":");
    const version = { keyId: parseInt(keyId, 16), state: "ACTIVE", material: Buffer.from(material, "hex") };
    return { purpose, versions: [version] };
  });
  return PassportKeys.fromKeySets(keySets);
}

async function verdict(document, keys, vector) {
  const options = {
    now: vector.now ?? document.now,
    trustDomain: document.trust_domain,
    acceptV1: vector.accept_v1 ?? false,
    userSigners: vector.user_signers ?? [],
    deviceSigners: vector.device_signers ?? [],
  };
  try {
    const passport = await PassportIntrospector.fromBase64(vector.passport, keys, options);
    return { verdict: "ok", reason: null, passport: facts(passport) };
  } catch (error) {
    if (!(error instanceof PassportRefused)) throw error;
    return { verdict: "refused", reason: error.reason, passport: null };
  }
}

function facts(passport) {
  const { header, user, device } = partsOf(passport);
  return {
    request_id: passport.requestId,
    issuer: passport.issuer,
    trust_domain: passport.trustDomain,
    created: String(header.created),
    user_source: passport.userSource,
    user_level: levelName(passport.userLevel),
    user_created: String(user.created),
    user_expires: String(user.expires),
    customer_id: text(passport.customerId),
    account_owner_id: text(passport.accountOwnerId),
    profile_id: passport.profileId,
    session_id: passport.sessionId,
    rescheduled: passport.rescheduled,
    actions: passport.actions,
    device_source: passport.deviceSource,
    device_level: levelName(passport.deviceLevel),
    device_created: String(device.created),
    device_expires: String(device.expires),
    esn: passport.esn,
    device_type: passport.deviceType,
    device_actions: passport.deviceActions,
  };
}

function text(id) {
  return id === null ? null : String(id);
}

for (const file of files()) {
  const document = JSON.parse(readFileSync(file, "utf8"));
  const keys = await keysOf(document);
  for (const vector of document.vectors) {
    const line = { file: basename(file), name: vector.name, ...(await verdict(document, keys, vector)) };
    process.stdout.write(`${JSON.stringify(line)}\n`);
  }
}
