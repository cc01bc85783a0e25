/** Reads a Passport: what every consumer uses, and never the schema. Verified over the received bytes, then parsed. */
import { actionOf } from "./actions.js";
import { decodeBase64, encodeBase64 } from "./base64.js";
import { Level, Part, Source, checkLevel, levelName, levelOf, sourceOf } from "./identity.js";
import { splitEnvelope, verify } from "./integrity.js";
import { DEVICE_PURPOSE, PassportKeys, USER_PURPOSE } from "./keys.js";
import { PassportRefusal, PassportRefused } from "./refusals.js";
import { DEVICE_INFO, HEADER, USER_INFO, readMessage } from "./strict.js";
import { MalformedWire } from "./wire.js";

/** How far two clocks inside the trust domain may differ, in seconds. */
export const SKEW_S = 60;
/** How old a Passport may be at most, whatever its issuer says, in seconds. */
export const MAX_AGE_S = 300;
const INSPECT = Symbol.for("nodejs.util.inspect.custom");

/** Return the parts of a Passport as they stand on the wire, times as bigints, actions as numbers: for this library. */
export let partsOf;

/** A Passport that has been verified. Its properties are what may be relied on; shown or as JSON it names nobody. */
export class PassportIntrospector {
  #received;
  #header;
  #user;
  #device;

  static {
    partsOf = (passport) => ({ header: passport.#header, user: passport.#user, device: passport.#device });
  }

  /** For this library: see `fromBase64` and `fromBytes`. */
  constructor(received, { header, user, device }) {
    this.#received = received;
    this.#header = header;
    this.#user = user;
    this.#device = device;
  }

  /** Verify and read an `X-Passport` value (base64 with padding); see `fromBytes`. */
  static async fromBase64(value, keys, options) {
    return PassportIntrospector.fromBytes(decodeBase64(value), keys, options);
  }

  /**
   * Verify and read a serialised Passport.
   *
   * `now` is epoch seconds. `acceptV1` also takes the published integrity, which does not bind a user to a request.
   * `userSigners` and `deviceSigners` are the purposes of keys that may have signed the part instead of the edge: those
   * of services that change Passports before they come here.
   * Rejects with PassportRefused; with TypeError for arguments that are no such thing.
   */
  static async fromBytes(data, keys, options) {
    const { now, trustDomain, maxAgeS, acceptV1, userPurposes, devicePurposes } = checkOptions(keys, options);
    if (!(data instanceof Uint8Array)) throw new TypeError("a serialised Passport is a Uint8Array");
    // A copy: verification awaits, and what is parsed afterwards must be what was verified.
    const received = new Uint8Array(data);
    const envelope = splitEnvelope(received);
    if (envelope.userIntegrity.version !== envelope.deviceIntegrity.version) {
      throw new PassportRefused(PassportRefusal.VERSION_NOT_ACCEPTED);
    }
    // Both at once, for speed; the device's refusal goes before the user's, as it does in every library.
    const refusals = await Promise.all([
      verify(envelope, Part.DEVICE, keys, devicePurposes, acceptV1),
      verify(envelope, Part.USER, keys, userPurposes, acceptV1),
    ]);
    const refusal = refusals.find((reason) => reason !== undefined);
    if (refusal !== undefined) throw new PassportRefused(refusal);
    const parts = readParts(envelope);
    checkParts(parts, now, trustDomain, maxAgeS);
    return new PassportIntrospector(received, parts);
  }

  /** The serialised Passport as it came, in a copy. */
  get received() {
    return new Uint8Array(this.#received);
  }

  /** The Passport as it came, as an `X-Passport` value for a call to the next service. */
  get headerValue() {
    return encodeBase64(this.#received);
  }

  /** The request it was made for. */
  get requestId() {
    return this.#header.requestId;
  }

  /** The id of the edge that made it. */
  get issuer() {
    return this.#header.issuer;
  }

  /** The trust domain it is valid in. */
  get trustDomain() {
    return this.#header.trustDomain;
  }

  /** When it was made, in epoch seconds. */
  get created() {
    return Number(this.#header.created);
  }

  /** When its user part was made, in epoch seconds: later than `created` once a service has changed it. */
  get userCreated() {
    return Number(this.#user.created);
  }

  /** When its user part ends, in epoch seconds. */
  get expires() {
    return Number(this.#user.expires);
  }

  /** How the user was resolved; NONE when there is none. */
  get userSource() {
    return sourceOf(this.#user.source);
  }

  /** How far the user may be trusted. */
  get userLevel() {
    return levelOf(this.#user.level);
  }

  /** The user, as a bigint, or null. */
  get customerId() {
    return this.#user.customerId;
  }

  /** The owner of the user's account, as a bigint, or null. */
  get accountOwnerId() {
    return this.#user.accountOwnerId;
  }

  /** The profile in use, or null. */
  get profileId() {
    return this.#user.profileId;
  }

  /** The session that the user's token belongs to, or null. */
  get sessionId() {
    return this.#user.sessionId;
  }

  /** Whether the user's token has expired and could not be renewed: what is said here may be out of date. */
  get rescheduled() {
    return this.#user.rescheduled;
  }

  /** What a service asks the edge to do for the user, in order. */
  get actions() {
    return this.#user.actions.map((number) => actionOf(Part.USER, number));
  }

  /** When its device part was made, in epoch seconds. */
  get deviceCreated() {
    return Number(this.#device.created);
  }

  /** When its device part ends, in epoch seconds. */
  get deviceExpires() {
    return Number(this.#device.expires);
  }

  /** What a service asks the edge to do for the device, in order. */
  get deviceActions() {
    return this.#device.actions.map((number) => actionOf(Part.DEVICE, number));
  }

  /** How the device was resolved; NONE when it is not known. */
  get deviceSource() {
    return sourceOf(this.#device.source);
  }

  /** How far the device may be trusted. */
  get deviceLevel() {
    return levelOf(this.#device.level);
  }

  /** The device's electronic serial number, or null. */
  get esn() {
    return this.#device.esn;
  }

  /** The device's type as registered, or null. */
  get deviceType() {
    return this.#device.deviceType;
  }

  /** Whether there is a user whose level says anything. */
  get isAuthenticated() {
    return this.customerId !== null && this.userLevel !== Level.UNSPECIFIED;
  }

  /** Throw PassportRefused unless there is a user of at least `level`. */
  requireUserLevel(level) {
    checkLevel(level);
    if (!this.isAuthenticated || this.userLevel < level) throw new PassportRefused(PassportRefusal.LEVEL_TOO_LOW);
  }

  /** Throw PassportRefused unless there is a device of at least `level` whose level says anything. */
  requireDeviceLevel(level) {
    checkLevel(level);
    const known = this.esn !== null && this.deviceLevel !== Level.UNSPECIFIED;
    if (!known || this.deviceLevel < level) throw new PassportRefused(PassportRefusal.LEVEL_TOO_LOW);
  }

  /** What may stand in a log: how much is known, and of whom nothing. */
  toJSON() {
    return {
      requestId: this.requestId,
      user: `${this.userSource}/${levelName(this.userLevel)}`,
      device: `${this.deviceSource}/${levelName(this.deviceLevel)}`,
    };
  }

  toString() {
    const { requestId, user, device } = this.toJSON();
    return `PassportIntrospector(request ${requestId}, user ${user}, device ${device})`;
  }

  [INSPECT]() {
    return this.toString();
  }
}

/**
 * Parse the parts of an envelope, whose MACs the caller has checked; throw PassportRefused when one is malformed.
 *
 * Says nothing about times and trust domain: for this library's own use.
 */
export function readParts(envelope) {
  const header = readPart(envelope.header, HEADER);
  const user = readPart(envelope.userInfo, USER_INFO);
  const device = readPart(envelope.deviceInfo, DEVICE_INFO);
  const contradictory =
    (user.customerId !== null) === (sourceOf(user.source) === Source.NONE) ||
    (device.esn !== null) === (sourceOf(device.source) === Source.NONE);
  if (contradictory) throw new PassportRefused(PassportRefusal.INCONSISTENT_PART);
  return { header, user, device };
}

function readPart(data, shape) {
  try {
    return readMessage(data, shape);
  } catch (error) {
    if (error instanceof MalformedWire) throw new PassportRefused(PassportRefusal.MALFORMED_PART);
    throw error;
  }
}

function checkParts({ header, user, device }, now, trustDomain, maxAgeS) {
  if (header.trustDomain !== trustDomain) throw new PassportRefused(PassportRefusal.TRUST_DOMAIN);
  checkExpiry(user, now);
  checkExpiry(device, now);
  for (const { created } of [header, user, device]) checkAge(created, now, maxAgeS);
}

// Times are bigints, and a comparison of a bigint with a number is exact.
function checkExpiry({ created, expires }, now) {
  if (expires <= created) throw new PassportRefused(PassportRefusal.INCONSISTENT_PART);
  if (now > expires + BigInt(SKEW_S)) throw new PassportRefused(PassportRefusal.EXPIRED);
}

function checkAge(created, now, maxAgeS) {
  if (created > now + SKEW_S) throw new PassportRefused(PassportRefusal.NOT_YET_VALID);
  if (now - Number(created) > maxAgeS) throw new PassportRefused(PassportRefusal.TOO_OLD);
}

function checkOptions(keys, options = {}) {
  const { now = Date.now() / 1000, trustDomain, maxAgeS = MAX_AGE_S, acceptV1 = false } = options;
  const { userSigners = [], deviceSigners = [] } = options;
  if (!(keys instanceof PassportKeys)) throw new TypeError("keys are a PassportKeys");
  if (typeof trustDomain !== "string") throw new TypeError("trustDomain is a text");
  // Nothing is greater than NaN: with it no Passport would ever be too old.
  if (!Number.isFinite(now)) throw new TypeError("now is a number of seconds");
  if (!Number.isFinite(maxAgeS)) throw new TypeError("maxAgeS is a number of seconds");
  const userPurposes = new Set([USER_PURPOSE, ...userSigners]);
  const devicePurposes = new Set([DEVICE_PURPOSE, ...deviceSigners]);
  return { now, trustDomain, maxAgeS, acceptV1: acceptV1 === true, userPurposes, devicePurposes };
}
