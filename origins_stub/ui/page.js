/** The page of the profile that is signed in: what a Passport says, as HTML. */
import { Level, levelName } from "../../passport/js/src/index.js";

const ESCAPES = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };

/** Return the page for a verified Passport. Whatever is in it stands there as text. */
export function page(passport) {
  const [title, body] = passport.isAuthenticated ? signedIn(passport) : nobody();
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>${escape(title)}</title></head>
<body>
<h1>${escape(title)}</h1>
${body}
</body>
</html>
`;
}

function signedIn(passport) {
  const rows = [
    ["Profile", passport.profileId ?? "none chosen"],
    ["Customer", passport.customerId],
    ["Account of", passport.accountOwnerId ?? "nobody known"],
    ["Known from", `${passport.userSource}, level ${levelName(passport.userLevel)}`],
    ["Device", passport.esn ?? "not known"],
  ];
  const notes = [];
  if (passport.rescheduled) notes.push("Your sign-in could not be renewed just now: this may be out of date.");
  if (passport.userLevel < Level.HIGH) notes.push("To see your account, sign in again.");
  return [
    `Hello, ${passport.profileId ?? "you"}`,
    [table(rows), ...notes.map((note) => `<p>${escape(note)}</p>`)].join("\n"),
  ];
}

function nobody() {
  return ["Hello", "<p>Nobody is signed in on this device.</p>"];
}

function table(rows) {
  const lines = rows.map(([name, value]) => `<tr><th>${escape(name)}</th><td>${escape(value)}</td></tr>`);
  return ["<table>", ...lines, "</table>"].join("\n");
}

/** Return a value as text that is nothing but text in HTML, in an element and in a quoted attribute. */
export function escape(value) {
  return String(value).replace(/[&<>"']/g, (character) => ESCAPES[character]);
}
