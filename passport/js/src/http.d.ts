import type { ReceivedRequest, ReceiverOptions } from "./receiving.js";

export { exchangeOf, passportOf } from "./receiving.js";
export type { ReceiverOptions } from "./receiving.js";

/** Return a listener for `http.createServer`, which calls `handler` with requests whose Passport is verified. */
export declare function passportListener<Request extends ReceivedRequest, Response>(
  options: ReceiverOptions<Request>,
  handler: (request: Request, response: Response) => unknown,
): (request: Request, response: Response) => Promise<void>;
