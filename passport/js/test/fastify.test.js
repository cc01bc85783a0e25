/** The adapter of Fastify, in the real one where it is installed. */
import { exchangeOf, passportOf, passportPlugin, requirePassport } from "../src/fastify.js";
import { Level } from "../src/index.js";
import { CHANGED, contract } from "./adapters.js";
import { imported } from "./support.js";

const fastify = await imported("fastify");
contract("fastify", serve, { skip: fastify === null && "fastify is not installed: make js-tools" });

async function serve(options, use) {
  const app = fastify.default();
  await app.register(passportPlugin, options);
  app.get("/health", async () => "well");
  app.get("/who", async (request) => String(passportOf(request).customerId));
  app.get("/secure", { preHandler: requirePassport({ level: Level.HIGH }) }, async () => "secure");
  app.get("/changed", async (request) => {
    await exchangeOf(request).adopt(CHANGED);
    return "changed";
  });
  app.get("/own", async (request, reply) => {
    await exchangeOf(request).adopt(CHANGED);
    reply.header("X-Passport", "own");
    return "changed";
  });
  app.get("/broken", async () => {
    throw new Error("broken by itself");
  });
  try {
    await use(await app.listen({ port: 0, host: "127.0.0.1" }));
  } finally {
    await app.close();
  }
}
