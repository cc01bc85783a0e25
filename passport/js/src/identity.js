/** The vocabulary of the Passport; the numbers are those of proto/passport/v1/passport.proto. */

/** How an identity was resolved. UNKNOWN stands for a number that this version does not know. */
export const Source = Object.freeze({
  UNKNOWN: "UNKNOWN",
  NONE: "NONE",
  COOKIE: "COOKIE",
  COOKIE_INSECURE: "COOKIE_INSECURE",
  MSL: "MSL",
  PARTNER_TOKEN: "PARTNER_TOKEN",
  CTICKET: "CTICKET",
  USER_CREDENTIALS: "USER_CREDENTIALS",
});
const SOURCES = ["NONE", "COOKIE", "COOKIE_INSECURE", "MSL", "PARTNER_TOKEN", "CTICKET", "USER_CREDENTIALS"];

/**
 * How far an identity may be trusted. UNSPECIFIED, as any number not known here, fails every assertion.
 *
 * Numbers, where all else is its name: levels are compared, and as texts they would have another order.
 */
export const Level = Object.freeze({ UNSPECIFIED: 0, LOW: 1, HIGH: 2, HIGHEST: 3 });
const LEVELS = Object.keys(Level);

/** The two parts of a Passport that carry a MAC each. */
export const Part = Object.freeze({ USER: "user", DEVICE: "device" });

/** Return the name of a level, for logs. */
export function levelName(level) {
  return LEVELS[level] ?? "UNSPECIFIED";
}

/** Return the level with a number as it stands on the wire. */
export function levelOf(number) {
  return number in LEVELS ? number : Level.UNSPECIFIED;
}

/** Return the source with a number as it stands on the wire. */
export function sourceOf(number) {
  return SOURCES[number] ?? Source.UNKNOWN;
}

/** Return the number of a source; throw TypeError for UNKNOWN and for what is none. */
export function sourceNumber(source) {
  const number = SOURCES.indexOf(source);
  if (number < 0) throw new TypeError("not a source that can be written");
  return number;
}

/** Throw TypeError unless `level` is one: a misspelt level must not let anybody in. */
export function checkLevel(level) {
  if (!Number.isInteger(level) || !(level in LEVELS)) throw new TypeError("not a Level");
}
