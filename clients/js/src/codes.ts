/** Close codes: whether and when to come back after each. A test holds the table to the gateway's own. */

/** `never`; at the `slot` that `server.draining` named; with a `fresh_token`; after a `backoff`. */
export type Retry = 'never' | 'slot' | 'fresh_token' | 'backoff';

/** After any code that is not here: `backoff`. */
export const CLOSE_CODES: Readonly<Record<number, Retry>> = {
  1012: 'slot',
  4400: 'never',
  4401: 'fresh_token',
  4403: 'never',
};

/** Codes with which the gateway asks for time (a restart, no room, a limit): no `online` event of the browser shortens the
 *  wait. */
export const PACED = [1012, 1013, 4409, 4429];

/** Errors after which the same command may succeed later. */
export const PASSING = /disconnected|timeout|rate_limited|broker_unavailable|internal_error/;
