/** Backoff and timers. The wall clock is not used: it jumps, and it may be wrong. */

const MIN = 500;
const MAX = 20_000;

/** Full jitter, in milliseconds: a thousand clients of a lost server do not reconnect in one wave (thundering herd). */
export const backoff = (attempt: number, random: () => number = Math.random): number =>
  Math.min(MAX, MIN + random() * Math.min(MAX, MIN * 2 ** attempt));

/** Milliseconds of a clock that never goes back. */
export const now = (): number => performance.now();

const LONGEST = 2 ** 31 - 1; // a longer timer would fire at once

/** A timeout that may be set again, which cancels the one before. */
export class Timer {
  #id: ReturnType<typeof setTimeout> | undefined;

  /** Runs `action` once, in `ms`. */
  set(ms: number, action: () => void): void {
    this.stop();
    this.#id = setTimeout(action, Math.min(ms, LONGEST));
  }

  stop(): void { clearTimeout(this.#id); }
}
