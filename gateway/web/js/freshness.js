/** Up to when a pane has everything, by the gateway's clock: no DOM and no clock of its own. Times are milliseconds. */

export class Freshness {
  /** Up to here every event was given: the time of the newest event or mark. @type {number|undefined} */ asOf;
  #skew = 0; // how far this clock is ahead of the gateway's, with the shortest delay seen

  /** Takes a frame of the gateway's own, on its arrival at `now`. */
  frame({ type, data, timestamp }, now) {
    const skew = now - Date.parse(timestamp);
    this.#skew = type === 'connection.established' ? skew : Math.min(this.#skew, skew);
    if (data.as_of && data.cursor) this.#advance(Date.parse(data.as_of)); // without a cursor something is still owed
  }

  /** Takes an event on its arrival at `now`. @returns {number} when it happened, by this clock, and never after `now` */
  event({ timestamp }, now) {
    const at = Math.min(Date.parse(timestamp), now - this.#skew);
    this.#advance(at);
    return at + this.#skew;
  }

  /** Milliseconds since `asOf`; undefined as long as nothing is known. */
  age(now) { return this.asOf === undefined ? undefined : Math.max(0, now - this.#skew - this.asOf); }

  #advance(at) { this.asOf = Math.max(this.asOf ?? at, at); }
}
