/** Verifies the Passport of every request to a Fastify application: one plugin. */
import { PassportReceiver, refusedByRequirement } from "./receiving.js";

export { exchangeOf, passportOf } from "./receiving.js";

/**
 * A plugin after which `passportOf(request)` is a verified Passport, in all routes of the instance it is registered on.
 *
 * A request without exactly one valid `X-Passport` is answered with 401 and one look for every reason; the reason goes
 * to `onRefused`. Without keys the answer is 503. Requests to `publicPaths` pass without a Passport.
 */
export async function passportPlugin(fastify, options) {
  const receiver = new PassportReceiver(options);
  fastify.addHook("onRequest", async (request, reply) => {
    const refused = await receiver.receive(request.raw, reply.raw, request.raw.url);
    return refused === null ? undefined : send(reply, refused);
  });
}
// Else Fastify would keep the hook inside the plugin, and the routes beside it would be served unverified.
passportPlugin[Symbol.for("skip-override")] = true;
passportPlugin[Symbol.for("fastify.display-name")] = "edge-passport";

/** Return a hook (`preHandler`) that answers 403 unless the Passport is what `requireIdentity` asks for. */
export function requirePassport(requirement) {
  return async (request, reply) => {
    const refused = refusedByRequirement(request, requirement);
    return refused === null ? undefined : send(reply, refused);
  };
}

function send(reply, { status, headers, body }) {
  return reply.code(status).headers(headers).send(body);
}
