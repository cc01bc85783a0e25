/** Actions between their names, which callers use, and their numbers, which stand on the wire. */
import { CATALOGUE } from "./catalogue.js";
import { Part } from "./identity.js";

const NAMES = { [Part.USER]: new Map(), [Part.DEVICE]: new Map() };
for (const { part, number, name } of Object.values(CATALOGUE)) NAMES[part].set(number, name);

/** Return the action with a number on a part; UNKNOWN for one that this version does not know. */
export function actionOf(part, number) {
  return NAMES[part].get(number) ?? "UNKNOWN";
}

/** Return the number of an action that may stand on `part`; throw TypeError for any other. */
export function actionNumber(part, action) {
  const entry = Object.hasOwn(CATALOGUE, action) ? CATALOGUE[action] : undefined;
  if (entry?.part !== part) throw new TypeError(`not an action of the ${part}`);
  return entry.number;
}
