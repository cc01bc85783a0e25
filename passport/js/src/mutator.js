/**
 * Answers with a changed Passport: for the few services that may change who is asking. docs/passport.md, "Actions".
 *
 * Header and untouched part stay byte for byte. The actions of services that changed the Passport before stay, and the
 * new ones follow them: by that the newer of two is known. Who signs last answers for all of them.
 */
import { actionNumber } from "./actions.js";
import { newestOf, replaceNewest } from "./exchange.js";
import { Part } from "./identity.js";
import { joinEnvelope, sign, splitEnvelope } from "./integrity.js";
import { PassportKeys } from "./keys.js";
import { changeDevice, changeUser, encodeDevice, encodeUser } from "./parts.js";
import { PassportRefusal, PassportRefused } from "./refusals.js";
import { MAX_REPEATED } from "./strict.js";

/** How long a changed part is valid, in seconds. */
const TTL_S = 60;
const INSPECT = Symbol.for("nodejs.util.inspect.custom");

/** Tell whether both MACs bind their part to the request: version 1 covers no header, and no edge takes a change in it. */
const isBound = ({ userIntegrity, deviceIntegrity }) => userIntegrity.version !== 1n && deviceIntegrity.version !== 1n;

/** There is no active key of the service's purpose to sign with: answer 503. */
export class SignerUnavailable extends Error {
  name = "SignerUnavailable";
}

/**
 * Changes the Passport of an exchange in the name of one service, signed with its own key.
 *
 * Every method goes on from the newest Passport of the exchange, makes its result the newest, and resolves to it as an
 * `X-Passport` value; the server adapters put it on the response. Each rejects with SignerUnavailable, with
 * PassportRefused where the newest one is of integrity 1 or was adopted without being verified, and with TypeError for no
 * action, for more than 16, for one that comes twice, and for values that a Passport cannot carry.
 */
export class PassportMutator {
  #keys;
  #purpose;
  #ttlS;
  #clock;

  /** Sign with the key of `purpose`, as `passport-auth`, that `keys` has; `clock` says epoch seconds. */
  constructor(keys, purpose, { ttlS = TTL_S, clock = () => Date.now() / 1000 } = {}) {
    this.#keys = keys;
    this.#purpose = purpose;
    this.#ttlS = ttlS;
    this.#clock = clock;
  }

  /** Let another user, or null for nobody, take the place of the user, of whom nothing stays. */
  replaceUser(exchange, user, actions) {
    return this.#user(exchange, actions, (_, rest) => encodeUser(user, rest));
  }

  /** Change some of what is said of the user, who stays; null takes a field off, fields of newer schemas stay. */
  changeUser(exchange, changes, actions) {
    return this.#user(exchange, actions, ({ envelope, user }, rest) => {
      if (user.customerId === null) throw new TypeError("there is no user to change");
      return changeUser(envelope.userInfo, { ...changes, ...rest });
    });
  }

  /** Let another device, or null for none, take the place of the device, of which nothing stays. */
  replaceDevice(exchange, device, actions) {
    return this.#device(exchange, actions, (_, rest) => encodeDevice(device, rest));
  }

  /** Change some of what is said of the device: see `changeUser`. */
  changeDevice(exchange, changes, actions) {
    return this.#device(exchange, actions, ({ envelope, device }, rest) => {
      if (device.esn === null) throw new TypeError("there is no device to change");
      return changeDevice(envelope.deviceInfo, { ...changes, ...rest });
    });
  }

  #user(exchange, actions, write) {
    return this.#change(exchange, async (newest) => {
      const rest = this.#rest(Part.USER, newest.user.actions, actions);
      return this.#signedUser({ ...newest.envelope, userInfo: write(newest, rest) });
    });
  }

  /** The MAC of the user covers the device, so that both parts are signed: the key needs both grants. */
  #device(exchange, actions, write) {
    return this.#change(exchange, async (newest) => {
      const rest = this.#rest(Part.DEVICE, newest.device.actions, actions);
      const changed = { ...newest.envelope, deviceInfo: write(newest, rest) };
      changed.deviceIntegrity = await sign(this.#signer(), changed.deviceIntegrity.version, Part.DEVICE, changed);
      return this.#signedUser(changed);
    });
  }

  async #signedUser(envelope) {
    const { version } = envelope.deviceIntegrity;
    return { ...envelope, userIntegrity: await sign(this.#signer(), version, Part.USER, envelope) };
  }

  /** Another one may become the newest while this one is signed: then it is made anew, from that. */
  async #change(exchange, make) {
    for (;;) {
      const { bytes, user, device } = newestOf(exchange);
      const envelope = splitEnvelope(bytes);
      if (!isBound(envelope)) throw new PassportRefused(PassportRefusal.VERSION_NOT_ACCEPTED);
      const changed = await make({ envelope, user, device });
      if (replaceNewest(exchange, bytes, joinEnvelope(changed))) return exchange.headerValue;
    }
  }

  #rest(part, before, actions) {
    const created = Math.floor(this.#clock());
    return { created, expires: created + this.#ttlS, actions: appended(part, before, actions) };
  }

  #signer() {
    const keys = this.#keys instanceof PassportKeys ? this.#keys : this.#keys.passportKeys;
    const signer = keys?.signer(this.#purpose) ?? null;
    if (signer === null) throw new SignerUnavailable(`no active key of purpose ${this.#purpose}`);
    return signer;
  }

  [INSPECT]() {
    return `PassportMutator(${this.#purpose})`;
  }
}

/** Return all actions of a part; the edge would refuse what is refused here, and nobody would hear of it. */
function appended(part, before, actions) {
  if (!Array.isArray(actions) || actions.length === 0) throw new TypeError("a change needs an action that says why");
  const both = [...before, ...actions.map((action) => actionNumber(part, action))];
  if (both.length > MAX_REPEATED) throw new TypeError(`a part carries no more than ${MAX_REPEATED} actions`);
  if (new Set(both).size < both.length) throw new TypeError("an action stands on a Passport once");
  return both;
}
