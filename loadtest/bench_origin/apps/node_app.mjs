/** The apps of Node: node:http, Express or Fastify, each with the middleware that reads the Passport and without. */
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { parseArgs } from "node:util";

const HOST = "127.0.0.1";
const TRUST_DOMAIN = "bench.test";
const NOBODY = 0;
const TITLES = ["The Long Relay", "Seven Headers", "A Cookie for Nobody", "Byte by Byte"];
const LIBRARY = new URL("../../../passport/js/src/", import.meta.url);

const { values: given } = parseArgs({
  options: Object.fromEntries(
    ["framework", "reads", "port", "keys", "modules"].map((name) => [name, { type: "string" }]),
  ),
});
const reads = given.reads === "passport";
const { PassportKeys } = await library("index.js");
const options = { keys: await PassportKeys.fromProtobuf(readFileSync(given.keys)), trustDomain: TRUST_DOMAIN };

const serve = { plain: servePlain, express: serveExpress, fastify: serveFastify };
await serve[given.framework]();

async function servePlain() {
  const { passportListener, passportOf } = await library("http.js");
  const handler = (request, response) => {
    const body = page(reads ? passportOf(request).customerId : NOBODY);
    response.writeHead(200, { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(body) });
    response.end(body);
  };
  createServer(reads ? passportListener(options, handler) : handler).listen(Number(given.port), HOST);
}

async function serveExpress() {
  const { passportMiddleware, passportOf } = await library("express.js");
  const app = installed("express")();
  if (reads) app.use(passportMiddleware(options));
  app.get("/browse", (request, response) => {
    response.type("json").send(page(reads ? passportOf(request).customerId : NOBODY));
  });
  app.listen(Number(given.port), HOST);
}

async function serveFastify() {
  const { passportPlugin, passportOf } = await library("fastify.js");
  const app = installed("fastify")();
  if (reads) await app.register(passportPlugin, options);
  app.get("/browse", async (request, reply) => {
    reply.type("application/json");
    return page(reads ? passportOf(request).customerId : NOBODY);
  });
  await app.listen({ port: Number(given.port), host: HOST });
}

function page(customerId) {
  return JSON.stringify({ customer_id: Number(customerId), titles: TITLES });
}

function library(name) {
  return import(new URL(name, LIBRARY));
}

/** Take a package from where the bench has installed it. */
function installed(name) {
  return createRequire(`${given.modules}/`)(name);
}
