import type { DeviceAction, Level, PassportKeySource, PassportKeys, Source, UserAction } from "./index.js";

/** What differs from a known user of level HIGH. */
export interface TestUser {
  source?: Source;
  level?: Level;
  customerId?: bigint | number | null;
  accountOwnerId?: bigint | number | null;
  profileId?: string | null;
  sessionId?: string | null;
  rescheduled?: boolean;
}

/** What differs from a known device of level HIGH. */
export interface TestDevice {
  source?: Source;
  level?: Level;
  esn?: string | null;
  deviceType?: number | null;
}

export interface MakeOptions {
  /** null: nobody. */
  user?: TestUser | null;
  /** null: no device. */
  device?: TestDevice | null;
  userActions?: readonly UserAction[];
  deviceActions?: readonly DeviceAction[];
  /** How long ago it was made, in seconds; 0. */
  ageS?: number;
  /** How long it is valid, in seconds; 60. */
  ttlS?: number;
  /** 32 lower-case hex digits; random. */
  requestId?: string;
  trustDomain?: string;
  /** 2. */
  integrityVersion?: 1 | 2;
}

/** An edge for tests. Its keys verify what it makes, and nothing else. */
export declare class PassportFactory implements PassportKeySource {
  private constructor();
  /** Return a factory with keys that nobody else has. */
  static create(options?: { trustDomain?: string; clock?: () => number }): Promise<PassportFactory>;
  /** What verifies the Passports made here. */
  get passportKeys(): PassportKeys;
  /** The trust domain that they are valid in. */
  get trustDomain(): string;
  /** Return an `X-Passport` value. */
  make(options?: MakeOptions): Promise<string>;
  /** Return an `X-Passport` value whose user was changed after it was signed. */
  forged(options?: MakeOptions): Promise<string>;
  /** Return a serialised Passport of parts that are bytes already, however odd. */
  sign(
    parts: { header: Uint8Array; userInfo: Uint8Array; deviceInfo: Uint8Array },
    integrityVersion?: 1 | 2,
  ): Promise<Uint8Array>;
}
