/** The pages over HTTP: one route, and the Passport that it needs. */
import { passportListener, passportOf } from "../../passport/js/src/http.js";
import { page } from "./page.js";

const HTML = {
  "Content-Type": "text/html; charset=utf-8",
  "Cache-Control": "no-store",
  "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
  "X-Content-Type-Options": "nosniff",
};
const JSON_HEADERS = { "Content-Type": "application/json", "Cache-Control": "no-store" };

/** Return the listener of the server; `onRefused` gets the reason of each refused Passport. */
export function listener(keys, trustDomain, onRefused) {
  return passportListener({ keys, trustDomain, onRefused }, answer);
}

function answer(request, response) {
  const path = request.url.split("?", 1)[0];
  const known = path === "/ui" || path === "/health";
  if (!known) return send(response, 404, JSON_HEADERS, '{"reason":"not_found"}');
  if (request.method !== "GET" && request.method !== "HEAD") {
    return send(response, 405, { ...JSON_HEADERS, Allow: "GET, HEAD" }, '{"reason":"method_not_allowed"}');
  }
  if (path === "/health") return send(response, 200, JSON_HEADERS, '{"status":"ok"}');
  return send(response, 200, HTML, page(passportOf(request)));
}

function send(response, status, headers, body) {
  response.writeHead(status, { ...headers, "Content-Length": Buffer.byteLength(body) });
  response.end(body);
}
