/** Makes Passports for other teams' tests, under keys of its own: good ones, and such as must be refused. */
import { randomBytes } from "node:crypto";

import { actionNumber } from "./actions.js";
import { decodeBase64, encodeBase64 } from "./base64.js";
import { Level, Part, Source } from "./identity.js";
import { joinEnvelope, sign, splitEnvelope } from "./integrity.js";
import { DEVICE_PURPOSE, PassportKeys, USER_PURPOSE } from "./keys.js";
import { encodeDevice, encodeHeader, encodeUser } from "./parts.js";
import { utf8 } from "./wire.js";

const USER = Object.freeze({
  source: Source.COOKIE,
  level: Level.HIGH,
  customerId: 1001n,
  accountOwnerId: 1001n,
  profileId: "profile-1",
  sessionId: "session-1",
});
const DEVICE = Object.freeze({ source: Source.COOKIE, level: Level.HIGH, esn: "TEST-0001", deviceType: 1 });

/** An edge for tests. Its keys verify what it makes, and nothing else. */
export class PassportFactory {
  #keys;
  #trustDomain;
  #clock;

  /** For this module: see `create`. */
  constructor(keys, trustDomain, clock) {
    this.#keys = keys;
    this.#trustDomain = trustDomain;
    this.#clock = clock;
  }

  /** Return a factory with keys that nobody else has. `clock` says epoch seconds. */
  static async create({ trustDomain = "test", clock = () => Date.now() / 1000 } = {}) {
    const keys = await PassportKeys.fromKeySets([USER_PURPOSE, DEVICE_PURPOSE].map(keySet));
    return new PassportFactory(keys, trustDomain, clock);
  }

  /** What verifies the Passports made here. */
  get passportKeys() {
    return this.#keys;
  }

  /** The trust domain that they are valid in. */
  get trustDomain() {
    return this.#trustDomain;
  }

  /**
   * Return an `X-Passport` value.
   *
   * `user` and `device` are what differs from a known user of level HIGH, customer 1001n, on a known device; null for
   * nobody. `ageS` is how long ago it was made: beyond `ttlS` it is expired. `userActions` and `deviceActions` are
   * names. `integrityVersion` is 1 or 2.
   */
  async make(options = {}) {
    const { user = {}, device = {}, userActions = [], deviceActions = [], ageS = 0, ttlS = 60 } = options;
    const {
      requestId = randomBytes(16).toString("hex"),
      trustDomain = this.#trustDomain,
      integrityVersion = 2,
    } = options;
    const created = Math.floor(this.#clock() - ageS);
    const times = { created, expires: created + ttlS };
    const header = { requestId, created, issuer: "edge-test", trustDomain };
    const parts = {
      header: encodeHeader(header),
      userInfo: encodeUser(user && { ...USER, ...user }, { ...times, actions: numbers(Part.USER, userActions) }),
      deviceInfo: encodeDevice(device && { ...DEVICE, ...device }, {
        ...times,
        actions: numbers(Part.DEVICE, deviceActions),
      }),
    };
    return encodeBase64(await this.sign(parts, integrityVersion));
  }

  /** Return an `X-Passport` value whose user was changed after it was signed. */
  async forged(options) {
    const made = splitEnvelope(decodeBase64(await this.make(options)));
    const other = splitEnvelope(decodeBase64(await this.make({ ...options, user: { customerId: 1002n } })));
    return encodeBase64(joinEnvelope({ ...made, userInfo: other.userInfo }));
  }

  /** Return a serialised Passport of parts that are bytes already, however odd: `header`, `userInfo`, `deviceInfo`. */
  async sign(parts, integrityVersion = 2) {
    const version = BigInt(integrityVersion);
    const [userKey, deviceKey] = [USER_PURPOSE, DEVICE_PURPOSE].map((purpose) => this.#keys.signer(purpose));
    return joinEnvelope({
      ...parts,
      userIntegrity: await sign(userKey, version, Part.USER, parts),
      deviceIntegrity: await sign(deviceKey, version, Part.DEVICE, parts),
    });
  }
}

function keySet(purpose, index) {
  return { purpose, versions: [{ keyId: index + 1, state: "ACTIVE", material: randomBytes(32), primary: true }] };
}

function numbers(part, actions) {
  return actions.map((action) => actionNumber(part, action));
}
