/**
 * The Passport of one exchange as it changes, on its way through a chain of services.
 *
 * A service that changes a Passport appends its actions. So of two Passports of one exchange that one is older whose
 * actions are the beginning of the other's; and one that continues neither way was built on an older one, too.
 */
import { decodeBase64, encodeBase64 } from "./base64.js";
import { PassportIntrospector, readParts } from "./introspector.js";
import { splitEnvelope } from "./integrity.js";
import { PassportRefusal, PassportRefused } from "./refusals.js";

/** The header that carries the Passport. */
export const HEADER = "X-Passport";
const INSPECT = Symbol.for("nodejs.util.inspect.custom");

/** What came of a Passport that a called service returned. All but ADOPTED changes nothing. */
export const Adoption = Object.freeze({
  ADOPTED: "adopted",
  SAME: "same",
  STALE: "stale",
  /** No Passport, not of this exchange, or not verified where it has to be. */
  REFUSED: "refused",
});

/**
 * For this library: return the newest Passport of an exchange, `bytes`, and `user` and `device` as on the wire, to be
 * changed. Throws PassportRefused where it was adopted without being verified: who signs it answers for all it says.
 */
export let newestOf;

/** For this library: go on with what was made of the newest one, `base`; tell whether that still was the newest. */
export let replaceNewest;

/** The Passport of one exchange: the one that came, until a service that was called returns a newer one. */
export class ExchangePassport {
  #received;
  #passport;
  #newest = null;
  #isVerified = true;
  #first;
  #stale = 0;
  #verify;
  #onReturned;

  static {
    newestOf = (exchange) => {
      if (!exchange.#isVerified) throw new PassportRefused(PassportRefusal.KEY_PURPOSE);
      return exchange.#known;
    };
    replaceNewest = (exchange, base, bytes) => {
      if (exchange.#known.bytes !== base) return false;
      exchange.#newest = read(bytes);
      exchange.#passport = new PassportIntrospector(bytes, exchange.#newest);
      return true;
    };
  }

  /**
   * Begin with the verified Passport of the request.
   *
   * `verify` gets the bytes of a returned Passport and resolves to it, verified, or rejects with PassportRefused.
   * Without it returned Passports are passed on, and not believed here. `onReturned` hears what came of each.
   */
  constructor(received, { verify, onReturned = () => {} } = {}) {
    if (!(received instanceof PassportIntrospector)) throw new TypeError("an exchange begins with a verified Passport");
    this.#received = received;
    this.#passport = received;
    this.#verify = verify;
    this.#onReturned = onReturned;
  }

  /** The Passport that came with the request. */
  get received() {
    return this.#received;
  }

  /** The newest Passport that is verified. */
  get passport() {
    return this.#passport;
  }

  /** The newest Passport as an `X-Passport` value: for calls, and for the response if `isChanged`. */
  get headerValue() {
    return this.#newest === null ? this.#received.headerValue : encodeBase64(this.#newest.bytes);
  }

  /** Whether a service has changed it: then the response must carry it, or the edge does not hear of it. */
  get isChanged() {
    return this.#newest !== null;
  }

  /** How many returned Passports were older than the newest one of then. */
  get stale() {
    return this.#stale;
  }

  /** Take the `X-Passport` value that a called service returned, if it is newer than what is known. */
  async adopt(value) {
    const adoption = await this.#adopt(value);
    if (adoption === Adoption.STALE) this.#stale++;
    this.#onReturned(adoption);
    return adoption;
  }

  async #adopt(value) {
    try {
      const returned = read(decodeBase64(value));
      const found = this.#compare(returned);
      if (found !== Adoption.ADOPTED || this.#verify === undefined) return this.#take(found, returned, this.#passport);
      const verified = await this.#verify(returned.bytes);
      // Compared again: another one may have been taken while this one was verified.
      return this.#take(this.#compare(returned), returned, verified);
    } catch (error) {
      if (error instanceof PassportRefused) return Adoption.REFUSED;
      throw error;
    }
  }

  #take(found, returned, verified) {
    if (found === Adoption.ADOPTED) {
      this.#newest = returned;
      this.#passport = verified;
      this.#isVerified = this.#verify !== undefined;
    }
    return found;
  }

  /** Read when it is first asked for: most requests never do. */
  get #known() {
    this.#first ??= read(this.#received.received);
    return this.#newest ?? this.#first;
  }

  #compare(returned) {
    const known = this.#known;
    if (equal(returned.bytes, known.bytes)) return Adoption.SAME;
    if (!equal(returned.headerBytes, known.headerBytes)) return Adoption.REFUSED;
    const user = added(returned.user.actions, known.user.actions);
    const device = added(returned.device.actions, known.device.actions);
    if (user === null || device === null || user + device === 0) return Adoption.STALE;
    // The signer of one part may not change the other, to which it has added no action.
    const silently =
      (user === 0 && !equal(returned.userBytes, known.userBytes)) ||
      (device === 0 && !equal(returned.deviceBytes, known.deviceBytes));
    return silently ? Adoption.REFUSED : Adoption.ADOPTED;
  }

  toJSON() {
    return { received: this.#received.toJSON(), isChanged: this.isChanged, stale: this.#stale };
  }

  [INSPECT]() {
    return `ExchangePassport(${this.#received}, changed ${this.isChanged}, stale ${this.#stale})`;
  }
}

/**
 * Return a `fetch` that sends the Passport of the exchange along, and adopts the one that comes back.
 *
 * `origins` are those that may have it, as `http://host:port`: it must not leave the trust domain. A request to any
 * other is not made and rejects with TypeError, and so does one that sets the header itself. Redirects are not
 * followed.
 */
export function propagatingFetch(exchange, { origins, fetch = globalThis.fetch }) {
  const allowed = new Set(origins.map((origin) => new URL(origin).origin));
  return async (input, init) => {
    const request = new Request(input, { ...init, redirect: "manual" });
    if (!allowed.has(new URL(request.url).origin)) throw new TypeError("this origin may not have the Passport");
    if (request.headers.has(HEADER)) throw new TypeError(`${HEADER} is set by this fetch`);
    request.headers.set(HEADER, exchange.headerValue);
    const response = await fetch(request);
    const returned = response.headers.get(HEADER);
    if (returned !== null) await exchange.adopt(returned);
    return response;
  };
}

function read(bytes) {
  const envelope = splitEnvelope(bytes);
  const { header, userInfo, deviceInfo } = envelope;
  return { bytes, ...readParts(envelope), headerBytes: header, userBytes: userInfo, deviceBytes: deviceInfo };
}

/** Return how many actions `longer` has more than `shorter`, or null when it does not continue it. */
function added(longer, shorter) {
  return shorter.every((action, index) => action === longer[index]) ? longer.length - shorter.length : null;
}

function equal(one, other) {
  return Buffer.compare(one, other) === 0;
}
