import type {
  Adoption,
  ExchangePassport,
  PassportIntrospector,
  PassportKeySource,
  PassportKeys,
  PassportRefusal,
} from "./index.js";

/** A request of node:http, as far as it is looked at. */
export interface ReceivedRequest {
  readonly rawHeaders: readonly string[];
  readonly url?: string | undefined;
}

/** What all adapters take. */
export interface ReceiverOptions<Request = ReceivedRequest> {
  /** The keys, or whoever keeps them up to date: without keys requests are answered with 503. */
  keys: PassportKeys | PassportKeySource;
  /** The trust domain that Passports must be made for. */
  trustDomain: string;
  /** Paths that need no Passport; `/health`. */
  publicPaths?: readonly string[];
  /** How old a Passport may be at most, in seconds; 300. */
  maxAgeS?: number;
  /** Also take the published integrity, which does not bind a user to a request; false. */
  acceptV1?: boolean;
  /** Purposes of keys that may have signed the user part instead of the edge. */
  userSigners?: readonly string[];
  /** Purposes of keys that may have signed the device part instead of the edge. */
  deviceSigners?: readonly string[];
  /** Gets the reason of each refusal, for logs and metrics: those who ask are not told. */
  onRefused?: (reason: PassportRefusal, request: Request) => void;
  /** Hears what came of each Passport that a called service returned. */
  onReturned?: (adoption: Adoption) => void;
  /** Epoch seconds. */
  clock?: () => number;
}

/** Return the exchange that a request began; throw Error if it did not go through an adapter with a Passport. */
export declare function exchangeOf(request: object): ExchangePassport;

/** Return the verified Passport of a request, the newest one; throw Error as `exchangeOf` does. */
export declare function passportOf(request: object): PassportIntrospector;
