import type { Requirement } from "./index.js";
import type { ReceiverOptions } from "./receiving.js";

export { exchangeOf, passportOf } from "./receiving.js";
export type { ReceiverOptions } from "./receiving.js";

/** As Express has it, which is not needed for these types. */
type Middleware = (request: any, response: any, next: (error?: any) => void) => void;

/** Return a middleware after which `passportOf(request)` is a verified Passport. */
export declare function passportMiddleware(options: ReceiverOptions): Middleware;

/** Return a middleware that answers 403 unless the Passport is what is asked for. */
export declare function requirePassport(requirement?: Requirement): Middleware;
