/** The client of the key management service: fetches key sets by purpose. */
import { encodeRequest, readErrorReason, readKeySets } from "./key_sets.js";
import { MalformedWire } from "./wire.js";

const MEDIA_TYPE = "application/x-protobuf";
const MAX_ANSWER_BYTES = 1 << 20;
const REASON = /^[a-z_]{1,64}$/;
const INSPECT = Symbol.for("nodejs.util.inspect.custom");

/** The service cannot be reached, is too slow, or answers nonsense: keep the keys and ask again later. */
export class KmsUnavailable extends Error {
  name = "KmsUnavailable";
}

/** The answer lacks keys that are held, and that nobody destroyed: the store was lost, or is another one. */
export class KeysLost extends KmsUnavailable {
  name = "KeysLost";

  constructor(keyIds) {
    const names = keyIds.map((keyId) => keyId.toString(16).padStart(8, "0"));
    super(`the KMS no longer lists keys that are held, as if its store were lost: ${names.join(", ")}`);
    this.keyIds = names;
  }
}

/** The service knows this caller too little: its token or its grants are wrong, and asking again will not help. */
export class KmsRefused extends Error {
  name = "KmsRefused";
}

/** Fetches key sets in the name of one service identity. */
export class KmsClient {
  #url;
  #token;
  #timeoutS;
  #fetch;

  /** Take the service's base `url`, this caller's bearer `token`, and the time one whole call may take. */
  constructor({ url, token, timeoutS = 2, fetch = globalThis.fetch }) {
    this.#url = `${String(url).replace(/\/+$/, "")}/v1/key-sets`;
    this.#token = token;
    this.#timeoutS = timeoutS;
    this.#fetch = fetch;
  }

  /**
   * Return `{keySets, revision}`: the key sets of all `purposes`, and the store's revision.
   *
   * Whoever goes on holding the keys says so: `holder` names its process (at most 64 characters), `revisionHeld` is
   * that of the last answer it made keys of, and `uses` (at most 256) are what it did with them since it last said so.
   * `KeySource` does all that.
   *
   * Rejects with KmsRefused when the service says that the caller is unknown or one purpose is not granted to it, with
   * KmsUnavailable for everything else that is not a whole, readable answer. Their texts hold no secret.
   */
  async keySets(purposes, { holder = "", revisionHeld = 0n, uses = [] } = {}) {
    const { status, answer } = await this.#post(encodeRequest(purposes, { holder, revisionHeld, uses }));
    if (status === 401 || status === 403) {
      const reason = readReason(answer);
      if (reason !== "") {
        throw new KmsRefused(`${this.#url} refused the key sets ${purposes.join(", ")}: status ${status}, ${reason}`);
      }
    }
    if (status !== 200) throw new KmsUnavailable(`${this.#url} answered with status ${status}`);
    return readAnswer(answer, purposes);
  }

  async #post(body) {
    try {
      const response = await this.#fetch(this.#url, {
        method: "POST",
        body,
        headers: { Authorization: `Bearer ${this.#token}`, "Content-Type": MEDIA_TYPE },
        redirect: "manual",
        signal: AbortSignal.timeout(Math.ceil(this.#timeoutS * 1000)),
      });
      return { status: response.status, answer: await limited(response) };
    } catch (error) {
      if (error instanceof KmsUnavailable) throw error;
      if (error?.name === "TimeoutError")
        throw new KmsUnavailable(`${this.#url} did not answer in ${this.#timeoutS} s`);
      // Neither the text nor the cause: they may carry the request, and with it the token.
      throw new KmsUnavailable(`${this.#url} cannot be reached: ${error?.cause?.code ?? error?.name ?? "no reason"}`);
    }
  }

  [INSPECT]() {
    return `KmsClient(${this.#url})`;
  }
}

async function limited(response) {
  const pieces = [];
  let size = 0;
  for await (const piece of response.body ?? []) {
    size += piece.length;
    if (size > MAX_ANSWER_BYTES) throw new KmsUnavailable(`the answer is longer than ${MAX_ANSWER_BYTES} bytes`);
    pieces.push(piece);
  }
  return new Uint8Array(Buffer.concat(pieces));
}

/** Return why the service refuses; empty when that is not its answer, but one of somebody in its place. */
function readReason(answer) {
  try {
    const reason = readErrorReason(answer);
    return REASON.test(reason) ? reason : "";
  } catch {
    return "";
  }
}

function readAnswer(answer, purposes) {
  let read;
  try {
    read = readKeySets(answer);
  } catch (error) {
    if (error instanceof MalformedWire) throw new KmsUnavailable("the answer is not a GetKeySetsResponse");
    throw error;
  }
  const missing = purposes.filter((purpose) => !read.keySets.some((keySet) => keySet.purpose === purpose));
  if (missing.length > 0) throw new KmsUnavailable(`the answer lacks the key sets ${missing.sort().join(", ")}`);
  return read;
}
