/** The Passport keys of one process: fetched from the KMS before it serves, refreshed beside it. */
import { randomBytes } from "node:crypto";
import { hostname } from "node:os";
import { setTimeout as wait } from "node:timers/promises";

import { DEVICE_PURPOSE, PassportKeys, USER_PURPOSE } from "./keys.js";
import { KeysLost, KmsUnavailable } from "./kms.js";

const RETRY_S = 0.25;
const MAX_REPORTED = 256;
const INSPECT = Symbol.for("nodejs.util.inspect.custom");

/**
 * Holds the keys of `purposes` in `passportKeys`, which is replaced as a whole by each refresh.
 *
 * A process that has keys keeps them for as long as the KMS is away. A key that was once said to be destroyed stays so,
 * whatever is said of it later. The KMS lists each version for ever, destroyed ones too: an answer that lacks one that
 * is held is that of a lost or another store, and not taken. With each fetch the KMS is told which process holds which
 * keys, and what it used them for.
 */
export class KeySource {
  #client;
  #purposes;
  #clock;
  #holder = `${hostname()
    .replace(/[^A-Za-z0-9._-]/g, "-")
    .slice(0, 40)}:${process.pid}:${randomBytes(4).toString("hex")}`;
  #keys = null;
  #revisionHeld = 0n;
  #held = new Set();
  #destroyed = new Set();
  #unreported = new Map();
  #stopping = new AbortController();
  #refreshing = Promise.resolve();
  #asking = null;

  /** Take the client, the purposes, and a clock that says epoch seconds. No keys yet: see `start`. */
  constructor(client, { purposes = [USER_PURPOSE, DEVICE_PURPOSE], clock = () => Date.now() / 1000 } = {}) {
    this.#client = client;
    this.#purposes = purposes;
    this.#clock = clock;
  }

  /**
   * Fetch the keys, and refresh them every `refreshS` seconds until `close`; return the source once it has keys.
   *
   * `onProblem` gets the error of each refresh that went wrong. Rejects with KmsRefused, or with KmsUnavailable when
   * the KMS is not there for `patienceS`. The refreshing alone keeps no process running.
   */
  static async start(client, { refreshS = 30, patienceS = 30, onProblem = () => {}, ...options } = {}) {
    const source = new KeySource(client, options);
    await source.#fetchFirst(patienceS);
    source.#refreshing = source.#refreshForEver(refreshS, onProblem);
    return source;
  }

  /** The keys of this moment; null until there are any. */
  get passportKeys() {
    return this.#keys;
  }

  /** Ask the KMS now. Rejects with KmsRefused, KmsUnavailable, or KeySetError; the keys then stay as they are. */
  refresh() {
    this.#asking ??= this.#fetch().finally(() => {
      this.#asking = null;
    });
    return this.#asking;
  }

  async #fetch() {
    this.#countUses();
    const uses = this.#newestUses();
    const answer = await this.#client.keySets(this.#purposes, {
      holder: this.#holder,
      revisionHeld: this.#revisionHeld,
      uses,
    });
    this.#checkLost(answer);
    this.#reported(uses);
    this.#keepDestroyed(answer);
    const keys = await PassportKeys.fromKeySets(answer.keySets);
    this.#countUses();
    this.#keys = keys;
    this.#revisionHeld = answer.revision;
    this.#held = new Set(
      versionsOf(answer)
        .filter(isUsable)
        .map(({ keyId }) => keyId),
    );
  }

  /** Stop refreshing. */
  async close() {
    this.#stopping.abort();
    await this.#refreshing;
  }

  async #fetchFirst(patienceS) {
    const giveUp = performance.now() + patienceS * 1000;
    for (;;) {
      try {
        return await this.refresh();
      } catch (error) {
        if (!(error instanceof KmsUnavailable) || performance.now() > giveUp) throw error;
      }
      await wait(RETRY_S * 1000);
    }
  }

  async #refreshForEver(refreshS, onProblem) {
    while (!this.#stopping.signal.aborted) {
      // Give or take a tenth: processes that started together do not go on asking together.
      const milliseconds = refreshS * 1000 * (0.9 + 0.2 * Math.random());
      try {
        await wait(milliseconds, undefined, { signal: this.#stopping.signal, ref: false });
      } catch {
        return;
      }
      try {
        await this.refresh();
      } catch (error) {
        onProblem(error);
      }
    }
  }

  #countUses() {
    const now = Math.floor(this.#clock());
    for (const { keyId, count } of this.#keys?.takeUses() ?? []) {
      const before = this.#unreported.get(keyId)?.count ?? 0;
      this.#unreported.set(keyId, { keyId, lastUsed: now, count: before + count });
    }
  }

  #newestUses() {
    return [...this.#unreported.values()].sort((a, b) => b.lastUsed - a.lastUsed).slice(0, MAX_REPORTED);
  }

  /** Forget what the KMS was told; what was added meanwhile stays. */
  #reported(uses) {
    for (const told of uses) {
      const now = this.#unreported.get(told.keyId);
      if (now.count > told.count) this.#unreported.set(told.keyId, { ...now, count: now.count - told.count });
      else this.#unreported.delete(told.keyId);
    }
  }

  #checkLost(answer) {
    const listed = new Set(versionsOf(answer).map(({ keyId }) => keyId));
    const lost = [...this.#held].filter((keyId) => !listed.has(keyId));
    if (lost.length > 0) throw new KeysLost(lost.sort((a, b) => a - b));
  }

  #keepDestroyed(answer) {
    for (const version of versionsOf(answer)) {
      if (version.state === "DESTROYED") this.#destroyed.add(version.keyId);
      else if (this.#destroyed.has(version.keyId)) Object.assign(version, { state: "DESTROYED", primary: false });
    }
  }

  [INSPECT]() {
    return `KeySource(${this.#purposes.join(", ")})`;
  }
}

function versionsOf(answer) {
  return answer.keySets.flatMap(({ versions }) => versions);
}

function isUsable({ state }) {
  return state !== "DESTROYED";
}
