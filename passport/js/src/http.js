/** Verifies the Passport of every request to a server of node:http. */
import { PassportReceiver, write } from "./receiving.js";

export { exchangeOf, passportOf } from "./receiving.js";

/**
 * Return a listener for `http.createServer`, which calls `handler(request, response)` after which `passportOf(request)`
 * is a verified Passport.
 *
 * A request without exactly one valid `X-Passport` is answered with 401 and one look for every reason; the reason goes
 * to `onRefused`. Without keys the answer is 503. Requests to `publicPaths` pass without a Passport.
 */
export function passportListener(options, handler) {
  const receiver = new PassportReceiver(options);
  return async (request, response) => {
    const refused = await receiver.receive(request, response, request.url);
    if (refused === null) await handler(request, response);
    else write(response, refused);
  };
}
