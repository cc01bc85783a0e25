/** `node origins_stub/ui/main.js`: serve the pages as a process of its own. */
import { closeSync, readFileSync, writeSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { KeySource, KmsClient, KmsRefused } from "../../passport/js/src/index.js";
import { listener } from "./server.js";

const EXIT_CANNOT_START = 2;
const SHUTDOWN_S = 5;
// Longer than the edge keeps an idle connection: else one may be closed just as a request is sent on it.
const KEEP_ALIVE_S = 120;

/** Says in one line why the process cannot start and what to do; the text holds no secret. */
class StartError extends Error {}

function options() {
  const text = (value) => ({ type: "string", default: value });
  let values;
  try {
    ({ values } = parseArgs({
      options: {
        listen: text("127.0.0.1:8095"),
        "ready-fd": { type: "string" },
        var: text("var"),
        secrets: { type: "string" },
        "token-file": { type: "string" },
        kms: text("http://127.0.0.1:8090"),
        "trust-domain": text("edge-passport.local"),
        "key-refresh-s": text("30"),
      },
    }));
  } catch (error) {
    throw new StartError(error.message);
  }
  const tokenFile = values["token-file"] ?? join(values.secrets ?? join(values.var, "secrets"), "ui.token");
  const refreshS = Number(values["key-refresh-s"]);
  if (!(refreshS > 0)) throw new StartError("--key-refresh-s is not a number of seconds");
  return { ...values, ...address(values.listen), tokenFile, refreshS };
}

function address(listen) {
  const [, host, port] = /^(.+):(\d{1,5})$/.exec(listen) ?? [];
  if (host === undefined || Number(port) > 65_535) throw new StartError(`${listen} is not HOST:PORT`);
  return { host: host.replace(/^\[(.*)\]$/, "$1"), port: Number(port) };
}

function readToken(path) {
  let token;
  try {
    token = readFileSync(path, "ascii").trim();
  } catch {
    throw new StartError(`the token file ${path} cannot be read; \`edge up\` makes it on its first run`);
  }
  if (token === "") throw new StartError(`the token file ${path} is empty`);
  return token;
}

function listening(server, { host, port, listen }) {
  return new Promise((serving, failed) => {
    const why = ({ code }) => new StartError(`${listen} cannot be listened on (${code}); choose another --listen`);
    server.once("error", (error) => failed(why(error)));
    server.listen({ host, port, backlog: 1024 }, serving);
  });
}

/** Leave cleanly: answer what is under way, for a while, and take nothing more. */
function stop(server) {
  server.close(() => process.exit(0));
  server.closeIdleConnections();
  setTimeout(() => server.closeAllConnections(), SHUTDOWN_S * 1000).unref();
}

function log(level, event, what) {
  process.stderr.write(`${JSON.stringify({ ...what, event, level, timestamp: new Date().toISOString() })}\n`);
}

function sayReady(server, { host, "ready-fd": readyFd }) {
  const { port } = server.address();
  const where = host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
  process.stdout.write(`ui listening on ${where}\n`);
  if (readyFd === undefined) return;
  writeSync(Number(readyFd), `${where}\n`);
  closeSync(Number(readyFd));
}

async function main() {
  const settings = options();
  // Requests that come before there are keys are answered with 503.
  const keys = {
    source: null,
    get passportKeys() {
      return this.source?.passportKeys ?? null;
    },
  };
  const onRefused = (reason) => log("warning", "passport_refused", { reason });
  const server = createServer(listener(keys, settings["trust-domain"], onRefused));
  server.keepAliveTimeout = KEEP_ALIVE_S * 1000;
  for (const signal of ["SIGTERM", "SIGINT"]) process.once(signal, () => stop(server));
  await listening(server, settings);
  const client = new KmsClient({ url: settings.kms, token: readToken(settings.tokenFile) });
  const onProblem = (problem) => log("warning", "keys_not_refreshed", { problem: problem.message });
  try {
    keys.source = await KeySource.start(client, { refreshS: settings.refreshS, onProblem });
  } catch (error) {
    const hint =
      error instanceof KmsRefused ? "see this identity's purposes in config/kms.yaml" : "is the KMS running?";
    throw new StartError(`no keys: ${error.message}; ${hint}`);
  }
  sayReady(server, settings);
}

try {
  await main();
} catch (error) {
  if (!(error instanceof StartError)) throw error;
  process.stderr.write(`ui cannot start: ${error.message}\n`);
  process.exit(EXIT_CANNOT_START);
}
