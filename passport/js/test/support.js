/** What the tests share. All key material here is public. */
import { createServer } from "node:http";
import { connect } from "node:net";

import { PassportIntrospector, PassportKeys } from "../src/index.js";
import { PassportFactory } from "../src/testing.js";

export const NOW = 1_790_000_000;
export const DOMAIN = "test";

/** A factory whose clock stands still at NOW. */
export const factory = await PassportFactory.create({ trustDomain: DOMAIN, clock: () => NOW });

/** Verify and read what the factory made. */
export function read(value, options = {}) {
  const how = { now: NOW, trustDomain: DOMAIN, ...options };
  return value instanceof Uint8Array
    ? PassportIntrospector.fromBytes(value, factory.passportKeys, how)
    : PassportIntrospector.fromBase64(value, factory.passportKeys, how);
}

export function bytesOf(value) {
  return new Uint8Array(Buffer.from(value, "base64"));
}

/** What `assert.rejects` is given for a refusal. */
export function refusal(reason) {
  return { name: "PassportRefused", message: reason, reason };
}

export function version(keyId, { state = "ACTIVE", primary = true, seed = keyId } = {}) {
  const material = state === "DESTROYED" ? "" : Buffer.alloc(32, seed).toString("base64");
  return { keyId, state, material, primary };
}

export function keysOf(...keySets) {
  return PassportKeys.fromKeySets(keySets);
}

/** A generator of numbers from 0 to 2^32 - 1 that does the same for the same seed (mulberry32). */
export function seeded(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
}

/** Serve on a free port while `use` runs; it gets the base URL. */
export async function serving(listener, use) {
  const server = createServer(listener);
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  try {
    return await use(`http://127.0.0.1:${server.address().port}`);
  } finally {
    server.closeAllConnections();
    await new Promise((closed) => server.close(closed));
  }
}

/** Send a GET with these header lines, byte for byte, and return its status, its head and its body. */
export function ask(url, path, lines = []) {
  const { hostname, port } = new URL(url);
  return new Promise((answered, failed) => {
    const socket = connect(Number(port), hostname);
    const pieces = [];
    socket.on("data", (piece) => pieces.push(piece));
    socket.on("error", failed);
    socket.on("end", () => {
      const [head, ...body] = Buffer.concat(pieces).toString("utf8").split("\r\n\r\n");
      answered({ status: Number(head.split(" ")[1]), head, body: body.join("\r\n\r\n") });
    });
    const request = [`GET ${path} HTTP/1.1`, "Host: test", "Connection: close", ...lines, "", ""];
    socket.write(request.join("\r\n"));
  });
}

/** Import a package that need not be installed; null where it is not. */
export async function imported(name) {
  try {
    return await import(name);
  } catch (error) {
    if (error.code === "ERR_MODULE_NOT_FOUND") return null;
    throw error;
  }
}
