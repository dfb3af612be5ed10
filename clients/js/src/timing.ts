/** Backoff, and timers by name. The wall clock is not used: it jumps, and it may be wrong. */

const MIN = 500;
const MAX = 20_000;

/** Full jitter, in milliseconds: a thousand clients that lost one server do not return in one wave. */
export const backoff = (attempt: number, random: () => number = Math.random): number =>
  Math.min(MAX, MIN + random() * Math.min(MAX, MIN * 2 ** attempt));

/** Milliseconds of a clock that never goes back. */
export const now = (): number => performance.now();

const LONGEST = 2 ** 31 - 1; // a longer timer would fire at once

export class Timers {
  #running = new Map<string | number, ReturnType<typeof setTimeout>>();

  /** Runs `action` once, in `ms`; a timer of the same name is replaced. */
  set(name: string | number, ms: number, action: () => void): void {
    this.clear(name);
    this.#running.set(name, setTimeout(() => { this.#running.delete(name); action(); }, Math.min(ms, LONGEST)));
  }

  /** Stops these timers, or all. */
  clear(...names: (string | number)[]): void {
    for (const name of names.length ? names : [...this.#running.keys()]) {
      clearTimeout(this.#running.get(name));
      this.#running.delete(name);
    }
  }
}
