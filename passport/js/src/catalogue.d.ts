// Every action that a returned Passport may carry. Made by `make proto` from proto/passport/v1/actions.yaml.
import type { Level, Part } from "./index.js";

/** What the edge does with a device's tokens. */
export type Effect = "nothing" | "update" | "create" | "clear";

/** What the part that an action stands on must be. */
export type PartIs = "nobody" | "checked" | "same" | "registered";

/** What becomes void besides, on all edges. */
export type Revokes = "none" | "session" | "others" | "customer" | "device";

/** One action; `level` is null where it stays as sent, `byKind` holds the kinds of token that differ from `effect`. */
export interface CatalogueEntry {
  readonly name: UserAction | DeviceAction;
  readonly number: number;
  readonly part: Part;
  readonly effect: Effect;
  readonly byKind: Readonly<Record<string, Effect>>;
  readonly partIs: PartIs;
  /** Fields of UserInfo or DeviceInfo in which the part may differ from what was sent. */
  readonly changes: readonly string[];
  readonly level: Level | null;
  readonly revokes: Revokes;
  readonly meaning: string;
}

/** Every action by its name. */
export declare const CATALOGUE: Readonly<Record<Exclude<UserAction | DeviceAction, "UNKNOWN">, CatalogueEntry>>;

/** A change of the user that the edge turns into token updates: docs/actions.md. */
export declare const UserAction: {
  /** A number that this version does not know. */
  readonly UNKNOWN: "UNKNOWN";
  /** The user has proved who they are. A session begins; none from before it goes on. */
  readonly USER_LOGIN: "USER_LOGIN";
  /** The user has left this device. The session ends, and every copy of its tokens with it. */
  readonly USER_LOGOUT: "USER_LOGOUT";
  /** The user has left all devices, this one too. */
  readonly USER_LOGOUT_EVERYWHERE: "USER_LOGOUT_EVERYWHERE";
  /** The user has left all devices but this one. */
  readonly USER_LOGOUT_ELSEWHERE: "USER_LOGOUT_ELSEWHERE";
  /** A code that this device shows was entered by a user elsewhere, who is now signed in here. */
  readonly USER_ACTIVATED_BY_CODE: "USER_ACTIVATED_BY_CODE";
  /** The user has proved once more who they are, for this request. No cookie carries that on. */
  readonly USER_STEP_UP_PASSED: "USER_STEP_UP_PASSED";
  /** The user's tokens are to be made anew, though nothing in them has changed. */
  readonly USER_TOKEN_REFRESH_FORCED: "USER_TOKEN_REFRESH_FORCED";
  /** Another profile of the account is in use on this device. */
  readonly USER_PROFILE_SWITCHED: "USER_PROFILE_SWITCHED";
  /** No profile is in use until one is chosen. */
  readonly USER_PROFILE_LEFT: "USER_PROFILE_LEFT";
  /** This device is held to a child's profile. */
  readonly USER_PROFILE_KID_LOCKED: "USER_PROFILE_KID_LOCKED";
  /** This device is held to a child's profile no longer. */
  readonly USER_PROFILE_KID_UNLOCKED: "USER_PROFILE_KID_UNLOCKED";
  /** Somebody has made an account. A session begins in which they may become a member. */
  readonly USER_SIGNUP_STARTED: "USER_SIGNUP_STARTED";
  /** A step of the sign-up is done; the session goes on. */
  readonly USER_SIGNUP_STEP_DONE: "USER_SIGNUP_STEP_DONE";
  /** The sign-up is over. The member's session begins, and that of the sign-up ends. */
  readonly USER_SIGNUP_COMPLETED: "USER_SIGNUP_COMPLETED";
  /** The user has become a member. */
  readonly USER_MEMBERSHIP_STARTED: "USER_MEMBERSHIP_STARTED";
  /** The membership is on hold. Tokens stay until the next renewal asks. */
  readonly USER_MEMBERSHIP_HELD: "USER_MEMBERSHIP_HELD";
  /** The membership will end. Tokens stay until a renewal finds that it has. */
  readonly USER_MEMBERSHIP_CANCELLED: "USER_MEMBERSHIP_CANCELLED";
  /** The user is a member again. */
  readonly USER_MEMBERSHIP_RESTARTED: "USER_MEMBERSHIP_RESTARTED";
  /** The user has changed the password. The sessions on other devices end. */
  readonly USER_PASSWORD_CHANGED: "USER_PASSWORD_CHANGED";
  /** A forgotten password was replaced. A session begins, and all from before end. */
  readonly USER_PASSWORD_RESET: "USER_PASSWORD_RESET";
  /** The user has another e-mail address. No token holds it. */
  readonly USER_EMAIL_CHANGED: "USER_EMAIL_CHANGED";
  /** The user has another telephone number. No token holds it. */
  readonly USER_PHONE_CHANGED: "USER_PHONE_CHANGED";
  /** The user's account has become part of another, under whose names they go on. */
  readonly USER_ACCOUNT_MERGED: "USER_ACCOUNT_MERGED";
  /** The user belongs to another account owner. */
  readonly USER_HOUSEHOLD_TRANSFERRED: "USER_HOUSEHOLD_TRANSFERRED";
  /** The account is no more. */
  readonly USER_ACCOUNT_CLOSED: "USER_ACCOUNT_CLOSED";
  /** The account is linked to the user's account at a partner. */
  readonly USER_PARTNER_LINKED: "USER_PARTNER_LINKED";
  /** The account is linked to a partner's no longer; who came by the partner's token has to sign in. */
  readonly USER_PARTNER_UNLINKED: "USER_PARTNER_UNLINKED";
  /** The user has agreed to something. No token holds it. */
  readonly USER_CONSENT_GIVEN: "USER_CONSENT_GIVEN";
  /** The user agrees no longer. No token holds it. */
  readonly USER_CONSENT_WITHDRAWN: "USER_CONSENT_WITHDRAWN";
};
export type UserAction = (typeof UserAction)[keyof typeof UserAction];

/** A change of the device that the edge turns into token updates: docs/actions.md. */
export declare const DeviceAction: {
  /** A number that this version does not know. */
  readonly UNKNOWN: "UNKNOWN";
  /** The device has got its serial number, or another one. */
  readonly DEVICE_REGISTERED: "DEVICE_REGISTERED";
  /** The device may be used with the account. */
  readonly DEVICE_ACTIVATED: "DEVICE_ACTIVATED";
  /** The device is called something else. No token holds it. */
  readonly DEVICE_RENAMED: "DEVICE_RENAMED";
  /** The device may be used with the account no longer. */
  readonly DEVICE_DEACTIVATED: "DEVICE_DEACTIVATED";
  /** The device is as new; nobody is signed in on it. */
  readonly DEVICE_RESET: "DEVICE_RESET";
  /** The device is of another type than its token says. */
  readonly DEVICE_TYPE_CORRECTED: "DEVICE_TYPE_CORRECTED";
  /** The device's tokens are to be made anew, though nothing in them has changed. */
  readonly DEVICE_TOKEN_REFRESH_FORCED: "DEVICE_TOKEN_REFRESH_FORCED";
  /** The device has proved what it is. No cookie carries that on. */
  readonly DEVICE_ATTESTED: "DEVICE_ATTESTED";
  /** A partner vouches for the device. */
  readonly DEVICE_PARTNER_LINKED: "DEVICE_PARTNER_LINKED";
  /** A partner vouches for the device no longer. */
  readonly DEVICE_PARTNER_UNLINKED: "DEVICE_PARTNER_UNLINKED";
};
export type DeviceAction = (typeof DeviceAction)[keyof typeof DeviceAction];
