// How the library is used from TypeScript: compiled by tests/passport_js/test_types.py, and never run.
import {
  CATALOGUE,
  ExchangePassport,
  KeySource,
  KmsClient,
  Level,
  PassportIntrospector,
  PassportKeys,
  PassportRefused,
  Source,
  UserAction,
  levelName,
  propagatingFetch,
  requireIdentity,
} from "edge-passport";
import { passportMiddleware, passportOf, requirePassport } from "edge-passport/express";
import { passportPlugin } from "edge-passport/fastify";
import { passportListener } from "edge-passport/http";
import { PassportFactory } from "edge-passport/testing";

const keys: KeySource = await KeySource.start(new KmsClient({ url: "http://kms", token: "t" }), { refreshS: 30 });
const passport = await PassportIntrospector.fromBase64("…", await PassportKeys.fromKeySets([]), {
  trustDomain: "live",
});

const customer: bigint | null = passport.customerId;
const level: Level = passport.userLevel;
const isHigh: boolean = passport.userLevel >= Level.HIGH && passport.userSource !== Source.COOKIE_INSECURE;
const name: "UNSPECIFIED" | "LOW" | "HIGH" | "HIGHEST" = levelName(level);
const action: UserAction | undefined = passport.actions[0];
const meaning: string = CATALOGUE[UserAction.USER_LOGIN].meaning;
requireIdentity(passport, { level: Level.HIGH, device: true });
try {
  passport.requireUserLevel(Level.HIGHEST);
} catch (error) {
  if (error instanceof PassportRefused && error.reason === "level_too_low") console.log(isHigh, name, action, meaning);
}

passportMiddleware({ keys, trustDomain: "live", onRefused: (reason) => console.log(reason) });
requirePassport({ level: Level.LOW });
passportListener({ keys, trustDomain: "live" }, (request: { rawHeaders: string[]; url?: string }, response: object) => {
  console.log(passportOf(request).esn, response);
});
void passportPlugin({}, { keys, trustDomain: "live" });

const exchange = new ExchangePassport(passport);
const call: typeof fetch = propagatingFetch(exchange, { origins: ["http://api:8094"] });
await call("http://api:8094/");

const factory = await PassportFactory.create();
const value: string = await factory.make({ user: { customerId: 5n, level: Level.LOW }, device: null });
console.log(customer, value);

// @ts-expect-error a level is no text
passport.requireUserLevel("HIGH");
// @ts-expect-error an id is a bigint or null, and no number
const wrong: number = passport.customerId;
// @ts-expect-error the trust domain is not optional
void PassportIntrospector.fromBase64("…", await PassportKeys.fromKeySets([]), {});
// @ts-expect-error what was verified cannot be changed
passport.profileId = "another";
// @ts-expect-error a Passport is only ever the result of a verification
new PassportIntrospector();
// @ts-expect-error a text of paths is no list of them
passportMiddleware({ keys, trustDomain: "live", publicPaths: "/health" });
// @ts-expect-error an action of the device is none of the user
await factory.make({ userActions: ["DEVICE_REGISTERED"] });
console.log(wrong);
