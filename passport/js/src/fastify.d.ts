import type { Requirement } from "./index.js";
import type { ReceiverOptions } from "./receiving.js";

export { exchangeOf, passportOf } from "./receiving.js";
export type { ReceiverOptions } from "./receiving.js";

/** A plugin after which `passportOf(request)` is a verified Passport; takes what Fastify gives any plugin. */
export declare function passportPlugin(fastify: any, options: ReceiverOptions): Promise<void>;

/** Return a hook (`preHandler`) that answers 403 unless the Passport is what is asked for. */
export declare function requirePassport(requirement?: Requirement): (request: any, reply: any) => Promise<unknown>;
