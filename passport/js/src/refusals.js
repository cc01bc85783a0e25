/** Why a Passport is refused: stable ids for logs and metrics; a caller outside sees one look for all of them. */
export const PassportRefusal = Object.freeze({
  MISSING: "missing",
  REPEATED: "repeated",
  TOO_LONG: "too_long",
  NOT_CANONICAL: "not_canonical",
  MALFORMED: "malformed",
  UNKNOWN_VERSION: "unknown_version",
  VERSION_NOT_ACCEPTED: "version_not_accepted",
  UNKNOWN_KEY: "unknown_key",
  KEY_PURPOSE: "key_purpose",
  BAD_MAC: "bad_mac",
  MALFORMED_PART: "malformed_part",
  INCONSISTENT_PART: "inconsistent_part",
  TRUST_DOMAIN: "trust_domain",
  NOT_YET_VALID: "not_yet_valid",
  EXPIRED: "expired",
  TOO_OLD: "too_old",
  NO_USER: "no_user",
  NO_DEVICE: "no_device",
  LEVEL_TOO_LOW: "level_too_low",
});

/** A Passport that must not be believed, or does not say enough. The text is the reason and nothing else. */
export class PassportRefused extends Error {
  name = "PassportRefused";

  constructor(reason) {
    super(reason);
    this.reason = reason;
  }
}

/** A good Passport that does not say enough. The adapters answer with `status`. */
export class RequirementNotMet extends PassportRefused {
  name = "RequirementNotMet";

  /** 401 when there is no user; 403 when there is no device, or a level is too low: as the edge answers. */
  get status() {
    return this.reason === PassportRefusal.NO_USER ? 401 : 403;
  }
}
