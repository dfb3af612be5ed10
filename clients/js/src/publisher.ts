/** Publishing: each event with an idempotency key, sent again until the gateway has answered. */

import { TEMPORARY } from './codes.js';
import { disconnected, type GatewayError } from './errors.js';
import { backoff, now } from './timing.js';
import type { Published } from './types.js';

const RETRY_FOR = 60_000; // the gateway remembers a key for 120 s

/** The connection, as publishing needs it. */
interface Host {
  command(type: 'publish', fields: { event: object }): Promise<unknown>;
  readonly chance: () => number;
}

/** True as soon as the connection is live, not before `wait` milliseconds; false where it is closed for good, or not live
 *  within `ms`. */
type WhenLive = (ms: number, wait: number) => Promise<boolean>;

/** Resolves when the event is in the log: once, however often it had to be sent. */
export async function publish(draft: object, host: Host, whenLive: WhenLive): Promise<Published> {
  // 128 random bits; `crypto.randomUUID` is missing on pages that are not served securely.
  const event = { idempotency_key: crypto.getRandomValues(new Uint32Array(4)).join('-'), ...draft };
  const until = now() + RETRY_FOR;
  for (let attempt = 0, wait = 0; ; attempt += 1) {
    if (!await whenLive(until - now(), wait)) throw disconnected();
    try {
      return await host.command('publish', { event }) as Published;
    } catch (error) {
      const { code, retry_after = 0 } = error as GatewayError;
      wait = code === 'disconnected' ? 0 : retry_after * 1000 + backoff(attempt, host.chance);
      if (!TEMPORARY.test(code) || now() + wait >= until) throw error;
    }
  }
}
