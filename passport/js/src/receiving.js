/** What all server adapters share: exactly one Passport, one look for every refusal, and the reason to `onRefused`. */
import { ExchangePassport, HEADER } from "./exchange.js";
import { MAX_AGE_S, PassportIntrospector } from "./introspector.js";
import { PassportKeys } from "./keys.js";
import { PassportRefusal, PassportRefused, RequirementNotMet } from "./refusals.js";
import { requireIdentity } from "./require.js";

const HEADER_LOWER = HEADER.toLowerCase();
const RESPONSE_HEADERS = { "Content-Type": "application/json", "Cache-Control": "no-store" };
const exchanges = new WeakMap();

/** Verifies the Passport of each request that an adapter shows it. */
export class PassportReceiver {
  #keys;
  #how;
  #publicPaths;
  #onRefused;
  #onReturned;
  #clock;

  /** Take the options of the adapters; throw TypeError for those that would let a request pass unverified. */
  constructor({
    keys,
    trustDomain,
    publicPaths = ["/health"],
    maxAgeS = MAX_AGE_S,
    acceptV1 = false,
    userSigners = [],
    deviceSigners = [],
    onRefused = () => {},
    onReturned = () => {},
    clock = () => Date.now() / 1000,
  }) {
    if (!(keys instanceof PassportKeys) && !(keys !== null && typeof keys === "object" && "passportKeys" in keys)) {
      throw new TypeError("keys are a PassportKeys, or have them in passportKeys");
    }
    if (typeof trustDomain !== "string") throw new TypeError("trustDomain is a text");
    // The characters of a text would be paths too, and "/" one of them.
    if (!Array.isArray(publicPaths)) throw new TypeError("publicPaths is an array");
    this.#keys = keys;
    this.#how = { trustDomain, maxAgeS, acceptV1, userSigners, deviceSigners };
    this.#publicPaths = new Set(publicPaths);
    this.#onRefused = onRefused;
    this.#onReturned = onReturned;
    this.#clock = clock;
  }

  /**
   * Verify the Passport of a request of node:http; resolve to null when it may go on, else to the answer to give.
   *
   * `target` is the request target as received. Afterwards `exchangeOf` and `passportOf` know the request, and if its
   * Passport changes on the exchange the response gets the newest one, unless the application sets one.
   */
  async receive(request, response, target) {
    if (this.#publicPaths.has(pathOf(target))) return null;
    if (this.#keysOfNow() === null) return answer(503, "keys_unavailable");
    try {
      const passport = await PassportIntrospector.fromBase64(single(request.rawHeaders), ...this.#verifying());
      const exchange = new ExchangePassport(passport, { verify: this.#verify(), onReturned: this.#onReturned });
      exchanges.set(request, exchange);
      carry(response, exchange);
      return null;
    } catch (error) {
      if (!(error instanceof PassportRefused)) throw error;
      this.#onRefused(error.reason, request);
      return answer(401, "passport_refused");
    }
  }

  #keysOfNow() {
    return this.#keys instanceof PassportKeys ? this.#keys : (this.#keys.passportKeys ?? null);
  }

  #verifying() {
    return [this.#keysOfNow(), { ...this.#how, now: this.#clock() }];
  }

  /** Who holds no other service's keys cannot verify what other services return. */
  #verify() {
    const { userSigners, deviceSigners } = this.#how;
    if (userSigners.length + deviceSigners.length === 0) return undefined;
    return (bytes) => PassportIntrospector.fromBytes(bytes, ...this.#verifying());
  }
}

/**
 * Return the exchange that a request began; throw Error if it did not go through an adapter with a Passport.
 *
 * Takes the request of node:http, or that of a framework which has it as `raw`.
 */
export function exchangeOf(request) {
  const exchange = exchanges.get(request.raw ?? request);
  if (exchange === undefined) throw new Error("this request has no verified Passport: is the middleware in its way?");
  return exchange;
}

/** Return the verified Passport of a request, the newest one; throw Error as `exchangeOf` does. */
export function passportOf(request) {
  return exchangeOf(request).passport;
}

/** Return null when the Passport of a request is what `requireIdentity` asks for, else the answer to give. */
export function refusedByRequirement(request, requirement) {
  try {
    requireIdentity(passportOf(request), requirement);
    return null;
  } catch (error) {
    if (!(error instanceof RequirementNotMet)) throw error;
    return answer(error.status, error.reason);
  }
}

/** Write an answer to a response of node:http. */
export function write(response, { status, headers, body }) {
  response.writeHead(status, headers);
  response.end(body);
}

function answer(status, reason) {
  const body = JSON.stringify({ reason });
  return { status, headers: { ...RESPONSE_HEADERS, "Content-Length": Buffer.byteLength(body) }, body };
}

/** Every head is written by writeHead, also where the application does not call it. */
function carry(response, exchange) {
  const { writeHead } = response;
  response.writeHead = function (...given) {
    const isDue = exchange.isChanged && !this.headersSent && !this.hasHeader(HEADER);
    if (isDue) this.setHeader(HEADER, exchange.headerValue);
    return writeHead.apply(this, given);
  };
}

function pathOf(target) {
  const end = target.indexOf("?");
  return end < 0 ? target : target.slice(0, end);
}

/** Not from `headers`, where Node joins two values to one. */
function single(rawHeaders) {
  const values = [];
  for (let index = 0; index < rawHeaders.length; index += 2) {
    if (rawHeaders[index].toLowerCase() === HEADER_LOWER) values.push(rawHeaders[index + 1]);
  }
  if (values.length === 0) throw new PassportRefused(PassportRefusal.MISSING);
  if (values.length > 1) throw new PassportRefused(PassportRefusal.REPEATED);
  return values[0];
}
