/** Freshness: the time as of which everything has been received, and its age, by the gateway's clock alone. */

import { now } from './timing.js';
import type { Freshness } from './types.js';

export class FreshnessClock {
  /** The gateway's clock minus this page's, by the frame with the shortest latency. */
  #ahead = -Infinity;
  #asOf = -Infinity;
  #degraded = false;

  /** A frame of the gateway's own, which carries the time when it was sent. A new connection may be to a node with another
   *  clock; until its first frame the earlier clock counts. */
  frame(type: string, timestamp: string): void {
    const first = type === 'connection.established';
    this.#ahead = Math.max(first ? -Infinity : this.#ahead, Date.parse(timestamp) - now());
    if (first || type === 'stream.restored') this.#degraded = false;
    else if (type === 'stream.degraded') this.#degraded = true;
  }

  /** Everything up to `timestamp` has been received. An event may have its publisher's time, which may be ahead. */
  upTo(timestamp: string): void {
    this.#asOf = Math.max(this.#asOf, Math.min(Date.parse(timestamp), now() + this.#ahead));
  }

  measure(live: boolean, staleAfter: number): Freshness {
    if (this.#asOf === -Infinity) return { asOf: undefined, age: undefined, stale: true };
    const age = Math.max(0, now() + this.#ahead - this.#asOf);
    return { asOf: new Date(this.#asOf), age, stale: !live || this.#degraded || age > staleAfter };
  }
}
