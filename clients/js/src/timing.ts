/** Backoff and timers. The wall clock is not used: it jumps, and it may be wrong. */

const MIN = 500;
const MAX = 20_000;

/** Full jitter, in milliseconds: a thousand clients that lost one server do not return in one wave. */
export const backoff = (attempt: number, random: () => number = Math.random): number =>
  Math.min(MAX, MIN + random() * Math.min(MAX, MIN * 2 ** attempt));

/** Milliseconds of a clock that never goes back. */
export const now = (): number => performance.now();

const LONGEST = 2 ** 31 - 1; // a longer timer would fire at once

/** A timeout that may be set again: then the one before does not happen. */
export class Timer {
  #id: ReturnType<typeof setTimeout> | undefined;

  /** Runs `action` once, in `ms`. */
  set(ms: number, action: () => void): void {
    this.stop();
    this.#id = setTimeout(action, Math.min(ms, LONGEST));
  }

  stop(): void { clearTimeout(this.#id); }
}
