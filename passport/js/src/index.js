/** The Passport: verify and read it in a service, pass it on. docs/javascript.md says how. */
export { CATALOGUE, DeviceAction, UserAction } from "./catalogue.js";
export { Adoption, ExchangePassport, HEADER, propagatingFetch } from "./exchange.js";
export { Level, Part, Source, levelName } from "./identity.js";
export { MAX_AGE_S, PassportIntrospector, SKEW_S } from "./introspector.js";
export { KeySource } from "./key_source.js";
export { DEVICE_PURPOSE, KeySetError, PassportKeys, USER_PURPOSE } from "./keys.js";
export { KeysLost, KmsClient, KmsRefused, KmsUnavailable } from "./kms.js";
export { PassportMutator, SignerUnavailable } from "./mutator.js";
export { exchangeOf, passportOf } from "./receiving.js";
export { PassportRefusal, PassportRefused, RequirementNotMet } from "./refusals.js";
export { requireIdentity } from "./require.js";
