/** The MAC keys of the Passport: looked up by name, never tried in turn. Key bytes do not come out of here. */
import { readKeySets } from "./key_sets.js";
import { MalformedWire, utf8 } from "./wire.js";

export const USER_PURPOSE = "passport-user";
export const DEVICE_PURPOSE = "passport-device";
const PURPOSE_PREFIX = "passport-";
const MATERIAL_BYTES = 32;
const INSPECT = Symbol.for("nodejs.util.inspect.custom");
const VERIFYING = new Set(["PRE_ACTIVE", "ACTIVE", "DEACTIVATED"]);
const NO_USES = Object.freeze([]);

/** Key sets that keys cannot be made of. The text holds no key. */
export class KeySetError extends Error {
  name = "KeySetError";
}

/**
 * One key for one purpose, held as a key that WebCrypto does not give out.
 *
 * `name` is what stands in a Passport: the purpose, a colon, the key id as eight lower-case hex digits.
 */
export class MacKey {
  #key;
  #uses = 0;

  /** For this module: see `derive`. */
  constructor(purpose, keyId, key) {
    this.name = keyName(purpose, keyId);
    this.purpose = purpose;
    this.keyId = keyId;
    this.#key = key;
  }

  /** Derive the MAC key for `purpose` from 32 bytes of material (HKDF-SHA-256, RFC 5869); throw KeySetError. */
  static async derive(purpose, keyId, material) {
    if (material.length !== MATERIAL_BYTES) {
      throw new KeySetError(`key material of ${keyName(purpose, keyId)} is not ${MATERIAL_BYTES} bytes`);
    }
    const info = utf8(`edge-passport|v1|${purpose}|hmac-sha256`);
    const base = await crypto.subtle.importKey("raw", material, "HKDF", false, ["deriveKey"]);
    const how = { name: "HKDF", hash: "SHA-256", salt: new Uint8Array(0), info };
    const hmac = { name: "HMAC", hash: "SHA-256", length: 256 };
    return new MacKey(purpose, keyId, await crypto.subtle.deriveKey(how, base, hmac, false, ["sign", "verify"]));
  }

  /** Tell whether `mac` is this key's over `data`, in constant time. */
  async verify(mac, data) {
    const good = await crypto.subtle.verify("HMAC", this.#key, mac, data);
    if (good) this.#uses++;
    return good;
  }

  /** Return this key's MAC over `data`, 32 bytes. */
  async sign(data) {
    this.#uses++;
    return new Uint8Array(await crypto.subtle.sign("HMAC", this.#key, data));
  }

  /** Return how often it has signed, or verified what was authentic, since this was last asked. */
  takeUses() {
    const uses = this.#uses;
    this.#uses = 0;
    return uses;
  }

  [INSPECT]() {
    return `MacKey(${this.name})`;
  }
}

/** An immutable set of MAC keys, with the one that signs for each purpose. */
export class PassportKeys {
  #byName;
  #signers;

  /** For this module: see `fromKeySets`. */
  constructor(byName, signers) {
    this.#byName = byName;
    this.#signers = signers;
  }

  /**
   * Take the keys whose purpose begins with `passport-`; others, and destroyed ones, are left out.
   *
   * `keySets` is as protobuf's JSON form has it, `material` in base64 or as bytes. Pre-active, active and deactivated
   * keys verify; the active primary of a set signs; each only where the KMS has granted it. Throws KeySetError for
   * material of a wrong size, a purpose or key id that comes twice, or two primaries for one purpose.
   */
  static async fromKeySets(keySets) {
    const byName = new Map();
    const signers = new Map();
    const seen = new Set();
    for (const { purpose, versions, uses } of keySets.map(readKeySet)) {
      if (!purpose.startsWith(PURPOSE_PREFIX)) continue;
      if (seen.has(purpose)) throw new KeySetError(`key set ${purpose} comes twice`);
      seen.add(purpose);
      const { keys, primary } = await keysOf(purpose, versions);
      // A KMS that does not say what is granted grants both.
      if (uses.length === 0 || uses.includes("OPEN")) for (const key of keys) byName.set(key.name, key);
      if (primary !== null && (uses.length === 0 || uses.includes("PROTECT"))) signers.set(purpose, primary);
    }
    return new PassportKeys(byName, signers);
  }

  /** Take a serialised GetKeySetsResponse of the KMS; see `fromKeySets`. Throws KeySetError. */
  static async fromProtobuf(data) {
    try {
      return await PassportKeys.fromKeySets(readKeySets(data).keySets);
    } catch (error) {
      if (error instanceof MalformedWire) throw new KeySetError("not a GetKeySetsResponse");
      throw error;
    }
  }

  /** Return the key that verifies MACs made under `name`, or null. */
  find(name) {
    return this.#byName.get(name) ?? null;
  }

  /** Return the key that signs for `purpose`, or null when there is no active primary. */
  signer(purpose) {
    return this.#signers.get(purpose) ?? null;
  }

  /** Return `{keyId, count}` of each key that was used since this was last asked, and count from 0 again. */
  takeUses() {
    const keys = [...new Set([...this.#byName.values(), ...this.#signers.values()])];
    return keys.map((key) => ({ keyId: key.keyId, count: key.takeUses() })).filter(({ count }) => count > 0);
  }

  [INSPECT]() {
    return `PassportKeys(${[...this.#byName.keys()].sort().join(", ")})`;
  }
}

/** Return the keys of one set, and its active primary or null. */
async function keysOf(purpose, versions) {
  const keys = [];
  let primary = null;
  for (const { keyId, state, material, primary: isPrimary } of versions) {
    if (!VERIFYING.has(state)) continue;
    const key = await MacKey.derive(purpose, keyId, material);
    if (keys.some(({ name }) => name === key.name)) throw new KeySetError(`key ${key.name} comes twice`);
    keys.push(key);
    if (isPrimary && state === "ACTIVE") {
      if (primary !== null) throw new KeySetError(`purpose ${purpose} has two primary keys`);
      primary = key;
    }
  }
  return { keys, primary };
}

function readKeySet({ purpose, versions = [], uses = NO_USES }) {
  if (typeof purpose !== "string") throw new KeySetError("a key set has no purpose");
  if (!Array.isArray(versions) || !Array.isArray(uses)) throw new KeySetError(`key set ${purpose} cannot be read`);
  return { purpose, versions: versions.map((version) => readVersion(purpose, version)), uses };
}

function readVersion(purpose, { keyId, state, material = "", primary = false }) {
  if (!Number.isInteger(keyId) || keyId < 0 || keyId > 0xffffffff) {
    throw new KeySetError(`key set ${purpose} has a key without an id`);
  }
  if (typeof material !== "string" && !(material instanceof Uint8Array)) {
    throw new KeySetError(`key material of ${keyName(purpose, keyId)} is neither base64 nor bytes`);
  }
  const bytes = typeof material === "string" ? Buffer.from(material, "base64") : material;
  return { keyId, state, material: bytes, primary: primary === true };
}

function keyName(purpose, keyId) {
  return `${purpose}:${keyId.toString(16).padStart(8, "0")}`;
}
