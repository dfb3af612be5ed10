/** Close codes: whether and when to come back after each. A test holds the table to the gateway's own. */

/** `never`; at the `slot` that `server.draining` named; with a `fresh_token`; after a `backoff`. */
export type Retry = 'never' | 'slot' | 'fresh_token' | 'backoff';

/** Each code's rule, and words for a close that gives no reason. After any other code: `backoff`. */
export const CLOSE_CODES: Readonly<Record<number, readonly [Retry, string]>> = {
  1006: ['backoff', 'connection lost'],
  1007: ['backoff', 'text that is not UTF-8'],
  1009: ['backoff', 'message too large'],
  1011: ['backoff', 'internal error'],
  1012: ['slot', 'the gateway restarts'],
  1013: ['backoff', 'the gateway is full'],
  4400: ['never', 'bad messages'],
  4401: ['fresh_token', 'token refused'],
  4403: ['never', 'forbidden'],
  4408: ['backoff', 'read too slowly'],
  4409: ['backoff', 'too many connections of this user'],
  4429: ['backoff', 'sent too much'],
};

/** Codes with which the gateway asks for time: no `online` event of the browser shortens the wait. */
export const UNHURRIED: ReadonlySet<number | undefined> = new Set([1012, 1013, 4409, 4429]);

/** Errors after which the same command may succeed later. */
export const PASSING: ReadonlySet<string> = new Set([
  'disconnected', 'timeout', 'rate_limited', 'broker_unavailable', 'internal_error',
]);
