/** Close codes: whether and when to reconnect after each. A test holds the table to the gateway's own. */

/** `never`; at the `slot` that `server.draining` named; with a `fresh_token`; after a `backoff`. */
export type Retry = 'never' | 'slot' | 'fresh_token' | 'backoff';

/** After any code that is not here: `backoff`. */
export const CLOSE_CODES: Readonly<Record<number, Retry>> = {
  1012: 'slot',
  4400: 'never',
  4401: 'fresh_token',
  4403: 'never',
};

/** Close codes after which no `online` event of the browser shortens the wait: a restart, no capacity, a limit. */
export const NOT_URGENT = [1012, 1013, 4409, 4429];

/** Errors after which the same command may succeed later. */
export const TEMPORARY = /disconnected|timeout|rate_limited|broker_unavailable|internal_error/;
