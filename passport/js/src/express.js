/** Verifies the Passport of every request to an Express application: one middleware. */
import { PassportReceiver, refusedByRequirement, write } from "./receiving.js";

export { exchangeOf, passportOf } from "./receiving.js";

/**
 * Return a middleware after which `passportOf(request)` is a verified Passport.
 *
 * A request without exactly one valid `X-Passport` is answered with 401 and one look for every reason; the reason goes
 * to `onRefused`. Without keys the answer is 503. Requests to `publicPaths` pass without a Passport.
 */
export function passportMiddleware(options) {
  const receiver = new PassportReceiver(options);
  return (request, response, next) => {
    receiver.receive(request, response, request.originalUrl).then((refused) => {
      if (refused === null) next();
      else write(response, refused);
    }, next);
  };
}

/** Return a middleware that answers 403 unless the Passport is what `requireIdentity` asks for. */
export function requirePassport(requirement) {
  return (request, response, next) => {
    const refused = refusedByRequirement(request, requirement);
    if (refused === null) next();
    else write(response, refused);
  };
}
