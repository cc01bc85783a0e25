/** Base64 in its one canonical spelling. */
import { MAX_PASSPORT_BYTES } from "./integrity.js";
import { PassportRefusal, PassportRefused } from "./refusals.js";

const MAX_BASE64_CHARACTERS = Math.ceil(MAX_PASSPORT_BYTES / 3) * 4;

/** Return the bytes of a base64 text; throw PassportRefused for any spelling of them but the canonical one. */
export function decodeBase64(value) {
  if (value === undefined || value === null || value.length === 0) throw new PassportRefused(PassportRefusal.MISSING);
  if (value.length > MAX_BASE64_CHARACTERS) throw new PassportRefused(PassportRefusal.TOO_LONG);
  const text = value instanceof Uint8Array ? Buffer.from(value).toString("latin1") : value;
  if (typeof text !== "string") throw new PassportRefused(PassportRefusal.NOT_CANONICAL);
  // Node reads base64 leniently; whatever it left out or made up shows when it is written again.
  const bytes = Buffer.from(text, "base64");
  if (bytes.toString("base64") !== text) throw new PassportRefused(PassportRefusal.NOT_CANONICAL);
  return bytes;
}

/** Return bytes as base64 with padding. */
export function encodeBase64(bytes) {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("base64");
}
