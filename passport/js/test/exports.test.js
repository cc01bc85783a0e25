/** What the types say is exported is what is exported. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

const { exports } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"));

for (const [name, { types, default: module }] of Object.entries(exports)) {
  test(`${name} exports what its types say`, async () => {
    const text = readFileSync(new URL(`../${types}`, import.meta.url), "utf8");
    const declared = [...text.matchAll(/^export declare (?:abstract )?(?:const|class|function) (\w+)/gm)].map(
      ([, each]) => each,
    );
    const passedOn = [...text.matchAll(/^export \{([^}]*)\}/gm)].flatMap(([, each]) =>
      each.split(",").map((one) => one.trim()),
    );
    const found = Object.keys(await import(`../${module}`));
    assert.deepEqual(found.sort(), [...declared, ...passedOn].sort());
  });
}
