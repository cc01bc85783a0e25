/** The adapter of Express, in the real one where it is installed. */
import { exchangeOf, passportMiddleware, passportOf, requirePassport } from "../src/express.js";
import { Level } from "../src/index.js";
import { CHANGED, contract } from "./adapters.js";
import { imported, serving } from "./support.js";

for (const name of ["express", "express4"]) {
  const express = await imported(name);
  const skip = express === null && `${name} is not installed: make js-tools`;
  contract(name, (options, use) => serving(application(express.default, options), use), { skip });
}

function application(express, options) {
  const app = express();
  app.use(passportMiddleware(options));
  app.get("/health", (_, response) => response.send("well"));
  app.get("/who", (request, response) => response.send(String(passportOf(request).customerId)));
  app.get("/secure", requirePassport({ level: Level.HIGH }), (_, response) => response.send("secure"));
  app.get("/changed", (request, response) => {
    exchangeOf(request)
      .adopt(CHANGED)
      .then(() => response.send("changed"));
  });
  app.get("/own", (request, response) => {
    exchangeOf(request)
      .adopt(CHANGED)
      .then(() => response.set("X-Passport", "own").send("changed"));
  });
  app.get("/broken", () => {
    throw new Error("broken by itself");
  });
  app.use((error, request, response, next) => response.status(500).send(error.message));
  return app;
}
