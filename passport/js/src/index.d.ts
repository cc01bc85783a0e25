import type { DeviceAction, UserAction } from "./catalogue.js";

export { CATALOGUE, DeviceAction, UserAction } from "./catalogue.js";
export { exchangeOf, passportOf } from "./receiving.js";
export type { CatalogueEntry, Effect, PartIs, Revokes } from "./catalogue.js";

/** How far two clocks inside the trust domain may differ, in seconds. */
export declare const SKEW_S: 60;
/** How old a Passport may be at most, whatever its issuer says, in seconds. */
export declare const MAX_AGE_S: 300;
/** The header that carries the Passport. */
export declare const HEADER: "X-Passport";
export declare const USER_PURPOSE: "passport-user";
export declare const DEVICE_PURPOSE: "passport-device";

/** How an identity was resolved. UNKNOWN stands for a number that this version does not know. */
export declare const Source: {
  readonly UNKNOWN: "UNKNOWN";
  readonly NONE: "NONE";
  readonly COOKIE: "COOKIE";
  readonly COOKIE_INSECURE: "COOKIE_INSECURE";
  readonly MSL: "MSL";
  readonly PARTNER_TOKEN: "PARTNER_TOKEN";
  readonly CTICKET: "CTICKET";
  readonly USER_CREDENTIALS: "USER_CREDENTIALS";
};
export type Source = (typeof Source)[keyof typeof Source];

/** How far an identity may be trusted. UNSPECIFIED fails every assertion. Levels are numbers, to be compared. */
export declare const Level: {
  readonly UNSPECIFIED: 0;
  readonly LOW: 1;
  readonly HIGH: 2;
  readonly HIGHEST: 3;
};
export type Level = (typeof Level)[keyof typeof Level];

/** Return the name of a level, for logs. */
export declare function levelName(level: Level): keyof typeof Level;

/** The two parts of a Passport that carry a MAC each. */
export declare const Part: { readonly USER: "user"; readonly DEVICE: "device" };
export type Part = (typeof Part)[keyof typeof Part];

/** Why a Passport is refused: stable ids for logs and metrics. docs/passport.md says what each means. */
export declare const PassportRefusal: {
  readonly MISSING: "missing";
  readonly REPEATED: "repeated";
  readonly TOO_LONG: "too_long";
  readonly NOT_CANONICAL: "not_canonical";
  readonly MALFORMED: "malformed";
  readonly UNKNOWN_VERSION: "unknown_version";
  readonly VERSION_NOT_ACCEPTED: "version_not_accepted";
  readonly UNKNOWN_KEY: "unknown_key";
  readonly KEY_PURPOSE: "key_purpose";
  readonly BAD_MAC: "bad_mac";
  readonly MALFORMED_PART: "malformed_part";
  readonly INCONSISTENT_PART: "inconsistent_part";
  readonly TRUST_DOMAIN: "trust_domain";
  readonly NOT_YET_VALID: "not_yet_valid";
  readonly EXPIRED: "expired";
  readonly TOO_OLD: "too_old";
  readonly NO_USER: "no_user";
  readonly NO_DEVICE: "no_device";
  readonly LEVEL_TOO_LOW: "level_too_low";
};
export type PassportRefusal = (typeof PassportRefusal)[keyof typeof PassportRefusal];

/** A Passport that must not be believed, or does not say enough. The text is the reason and nothing else. */
export declare class PassportRefused extends Error {
  constructor(reason: PassportRefusal);
  readonly reason: PassportRefusal;
}

/** A good Passport that does not say enough. The adapters answer with `status`. */
export declare class RequirementNotMet extends PassportRefused {
  /** 401 when there is no user; 403 when there is no device, or a level is too low. */
  get status(): 401 | 403;
}

/** How a Passport is verified. */
export interface VerifyOptions {
  /** The trust domain that it must be made for. */
  trustDomain: string;
  /** Epoch seconds; the clock of now if it is left out. */
  now?: number;
  /** How old it may be at most, in seconds; 300. */
  maxAgeS?: number;
  /** Also take the published integrity, which does not bind a user to a request; false. */
  acceptV1?: boolean;
  /** Purposes of keys that may have signed the user part instead of the edge: of services that change Passports. */
  userSigners?: readonly string[];
  /** The same for the device part. */
  deviceSigners?: readonly string[];
}

/** A Passport that has been verified. Its properties are what may be relied on; shown or as JSON it names nobody. */
export declare class PassportIntrospector {
  private constructor();
  /** Verify and read an `X-Passport` value (base64 with padding); rejects with PassportRefused. */
  static fromBase64(
    value: string | Uint8Array | null | undefined,
    keys: PassportKeys,
    options: VerifyOptions,
  ): Promise<PassportIntrospector>;
  /** Verify and read a serialised Passport; rejects with PassportRefused. */
  static fromBytes(data: Uint8Array, keys: PassportKeys, options: VerifyOptions): Promise<PassportIntrospector>;

  /** The serialised Passport as it came, in a copy. */
  get received(): Uint8Array;
  /** The Passport as it came, as an `X-Passport` value for a call to the next service. */
  get headerValue(): string;
  /** The request it was made for. */
  get requestId(): string;
  /** The id of the edge that made it. */
  get issuer(): string;
  /** The trust domain it is valid in. */
  get trustDomain(): string;
  /** When it was made, in epoch seconds. */
  get created(): number;
  /** When its user part was made, in epoch seconds. */
  get userCreated(): number;
  /** When its user part ends, in epoch seconds. */
  get expires(): number;
  /** How the user was resolved; NONE when there is none. */
  get userSource(): Source;
  /** How far the user may be trusted. */
  get userLevel(): Level;
  /** The user, or null. */
  get customerId(): bigint | null;
  /** The owner of the user's account, or null. */
  get accountOwnerId(): bigint | null;
  /** The profile in use, or null. */
  get profileId(): string | null;
  /** The session that the user's token belongs to, or null. */
  get sessionId(): string | null;
  /** Whether the user's token has expired and could not be renewed: what is said here may be out of date. */
  get rescheduled(): boolean;
  /** What a service asks the edge to do for the user, in order. */
  get actions(): UserAction[];
  /** When its device part was made, in epoch seconds. */
  get deviceCreated(): number;
  /** When its device part ends, in epoch seconds. */
  get deviceExpires(): number;
  /** What a service asks the edge to do for the device, in order. */
  get deviceActions(): DeviceAction[];
  /** How the device was resolved; NONE when it is not known. */
  get deviceSource(): Source;
  /** How far the device may be trusted. */
  get deviceLevel(): Level;
  /** The device's electronic serial number, or null. */
  get esn(): string | null;
  /** The device's type as registered, or null. */
  get deviceType(): number | null;
  /** Whether there is a user whose level says anything. */
  get isAuthenticated(): boolean;
  /** Throw PassportRefused unless there is a user of at least `level`. */
  requireUserLevel(level: Level): void;
  /** Throw PassportRefused unless there is a device of at least `level`. */
  requireDeviceLevel(level: Level): void;
  /** What may stand in a log: how much is known, and of whom nothing. */
  toJSON(): { requestId: string; user: string; device: string };
}

/** What a service asks of an identity. */
export interface Requirement {
  /** At least; LOW. */
  level?: Level;
  /** Whether there must be a user; true. */
  user?: boolean;
  /** Whether there must be a device; false. */
  device?: boolean;
}

/** Throw RequirementNotMet unless the identity is what is asked for. */
export declare function requireIdentity(passport: PassportIntrospector, requirement?: Requirement): void;

/** A key set of the KMS, as protobuf's JSON form has it. */
export interface KeySet {
  purpose: string;
  versions?: readonly KeyVersion[];
  /** `PROTECT`, `OPEN`; none: both. */
  uses?: readonly string[];
}

/** One version of a key. */
export interface KeyVersion {
  keyId: number;
  state: string;
  /** 32 bytes, in base64 or as they are; empty once destroyed. */
  material?: string | Uint8Array;
  primary?: boolean;
}

/** Key sets that keys cannot be made of. The text holds no key. */
export declare class KeySetError extends Error {}

/** An immutable set of MAC keys. Key bytes do not come out of it. */
export declare class PassportKeys {
  private constructor();
  /** Take the keys whose purpose begins with `passport-`; rejects with KeySetError. */
  static fromKeySets(keySets: readonly KeySet[]): Promise<PassportKeys>;
  /** Take a serialised GetKeySetsResponse of the KMS; rejects with KeySetError. */
  static fromProtobuf(data: Uint8Array): Promise<PassportKeys>;
}

/** Whoever keeps the keys up to date; null until there are any. */
export interface PassportKeySource {
  readonly passportKeys: PassportKeys | null;
}

/** The service cannot be reached, is too slow, or answers nonsense: keep the keys and ask again later. */
export declare class KmsUnavailable extends Error {}

/** The answer lacks keys that are held, and that nobody destroyed: the store was lost, or is another one. */
export declare class KeysLost extends KmsUnavailable {
  readonly keyIds: readonly string[];
}

/** The service knows this caller too little: its token or its grants are wrong, and asking again will not help. */
export declare class KmsRefused extends Error {}

/** Fetches key sets in the name of one service identity. */
export declare class KmsClient {
  constructor(options: { url: string | URL; token: string; timeoutS?: number; fetch?: typeof fetch });
}

/** Holds the keys of a process, and refreshes them. */
export declare class KeySource implements PassportKeySource {
  private constructor();
  /** Fetch the keys and refresh them until `close`; rejects with KmsRefused, or KmsUnavailable after `patienceS`. */
  static start(
    client: KmsClient,
    options?: {
      purposes?: readonly string[];
      /** Seconds between two fetches, give or take a tenth; 30. */
      refreshS?: number;
      /** Seconds to wait for a KMS that is not there; 30. */
      patienceS?: number;
      /** Gets the error of each refresh that went wrong. */
      onProblem?: (error: unknown) => void;
      /** Epoch seconds. */
      clock?: () => number;
    },
  ): Promise<KeySource>;
  get passportKeys(): PassportKeys | null;
  /** Ask the KMS now; when it rejects, the keys stay as they are. */
  refresh(): Promise<void>;
  /** Stop refreshing. */
  close(): Promise<void>;
}

/** What came of a Passport that a called service returned. All but ADOPTED changes nothing. */
export declare const Adoption: {
  readonly ADOPTED: "adopted";
  readonly SAME: "same";
  readonly STALE: "stale";
  readonly REFUSED: "refused";
};
export type Adoption = (typeof Adoption)[keyof typeof Adoption];

/** The Passport of one exchange: the one that came, until a service that was called returns a newer one. */
export declare class ExchangePassport {
  /**
   * Begin with the verified Passport of the request. Without `verify` returned Passports are passed on, and not
   * believed here; `onReturned` hears what came of each.
   */
  constructor(
    received: PassportIntrospector,
    options?: {
      verify?: (bytes: Uint8Array) => Promise<PassportIntrospector>;
      onReturned?: (adoption: Adoption) => void;
    },
  );
  /** The Passport that came with the request. */
  get received(): PassportIntrospector;
  /** The newest Passport that is verified. */
  get passport(): PassportIntrospector;
  /** The newest Passport as an `X-Passport` value: for calls, and for the response if `isChanged`. */
  get headerValue(): string;
  /** Whether a service has changed it: then the response must carry it. */
  get isChanged(): boolean;
  /** How many returned Passports were older than the newest one of then. */
  get stale(): number;
  /** Take the `X-Passport` value that a called service returned, if it is newer than what is known. */
  adopt(value: string): Promise<Adoption>;
  toJSON(): object;
}

/** Return a `fetch` that sends the Passport along, to `origins` only, and adopts the one that comes back. */
export declare function propagatingFetch(
  exchange: ExchangePassport,
  options: { origins: readonly string[]; fetch?: typeof fetch },
): typeof fetch;

/** A user as a service writes one. */
export interface User {
  source: Exclude<Source, "UNKNOWN">;
  level: Level;
  customerId?: bigint | number | null;
  accountOwnerId?: bigint | number | null;
  profileId?: string | null;
  sessionId?: string | null;
}

/** A device as a service writes one. */
export interface Device {
  source: Exclude<Source, "UNKNOWN">;
  level: Level;
  esn?: string | null;
  deviceType?: number | null;
}

/** There is no active key of the service's purpose to sign with: answer 503. */
export declare class SignerUnavailable extends Error {}

/** Changes the Passport of an exchange in the name of one service, signed with its own key. Resolves to the new one. */
export declare class PassportMutator {
  constructor(
    keys: PassportKeys | PassportKeySource,
    purpose: string,
    options?: { ttlS?: number; clock?: () => number },
  );
  /** Let another user, or null for nobody, take the place of the user. */
  replaceUser(exchange: ExchangePassport, user: User | null, actions: readonly UserAction[]): Promise<string>;
  /** Change some of what is said of the user, who stays; null takes a field off. */
  changeUser(exchange: ExchangePassport, changes: Partial<User>, actions: readonly UserAction[]): Promise<string>;
  /** Let another device, or null for none, take the place of the device. Needs the grants of both parts. */
  replaceDevice(exchange: ExchangePassport, device: Device | null, actions: readonly DeviceAction[]): Promise<string>;
  /** Change some of what is said of the device; null takes a field off. Needs the grants of both parts. */
  changeDevice(exchange: ExchangePassport, changes: Partial<Device>, actions: readonly DeviceAction[]): Promise<string>;
}
