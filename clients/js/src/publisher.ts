/** Publishing: each event with an idempotency key, sent again until the gateway has answered. */

import { PASSING } from './codes.js';
import { disconnected, type GatewayError } from './errors.js';
import { backoff, now } from './timing.js';
import type { Published } from './types.js';

const RETRY_FOR = 60_000; // the gateway remembers a key for 120 s

/** The connection, as publishing needs it. */
interface Link {
  send(event: object): Promise<unknown>;
  /** True as soon as the connection is live; false where it is closed for good, or not live within `ms`. */
  whenLive(ms: number): Promise<boolean>;
  chance: () => number;
}

/** 128 random bits; `crypto.randomUUID` is missing on pages that are not served securely. */
const freshKey = (): string => [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(36)).join('-');

/** Resolves once the event is in the log, where it stands once however often it had to be sent. */
export async function publish(draft: object, link: Link): Promise<Published> {
  const event = { idempotency_key: freshKey(), ...draft };
  const until = now() + RETRY_FOR;
  for (let attempt = 0; ; attempt += 1) {
    if (!await link.whenLive(until - now())) throw disconnected();
    try {
      return await link.send(event) as Published;
    } catch (error) {
      const { code, retry_after = 0 } = error as GatewayError;
      const wait = code === 'disconnected' ? 0 : retry_after * 1000 + backoff(attempt, link.chance);
      if (!PASSING.test(code) || now() + wait >= until) throw error;
      if (wait) await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }
}
