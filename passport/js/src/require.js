/** What a service asks of a Passport that has been verified: docs/javascript.md. */
import { Level, checkLevel } from "./identity.js";
import { PassportRefusal, RequirementNotMet } from "./refusals.js";

/**
 * Throw RequirementNotMet unless there is a user, a device, or both, of at least `level`.
 *
 * Level UNSPECIFIED never passes. Where user and device need different levels, ask twice. The reasons are `no_user`,
 * `no_device` and `level_too_low`. Throws TypeError for a level that is none, and when neither is asked for.
 */
export function requireIdentity(passport, { level = Level.LOW, user = true, device = false } = {}) {
  checkLevel(level);
  if (!user && !device) throw new TypeError("a requirement asks for a user, a device, or both");
  if (user) {
    if (passport.customerId === null) throw new RequirementNotMet(PassportRefusal.NO_USER);
    requireLevel(passport.userLevel, level);
  }
  if (device) {
    if (passport.esn === null) throw new RequirementNotMet(PassportRefusal.NO_DEVICE);
    requireLevel(passport.deviceLevel, level);
  }
}

function requireLevel(found, asked) {
  if (found === Level.UNSPECIFIED || found < asked) throw new RequirementNotMet(PassportRefusal.LEVEL_TOO_LOW);
}
