/** One listener of a room: loads its snapshot at a cursor, then delivers the events after it. */

import { backoff, Timer } from './timing.js';
import type { Gap, GatewayEvent, Items, RoomOptions, RoomState, RoomStateChange } from './types.js';

const RELOAD_JITTER = 5_000; // milliseconds, after a gap that many clients may have had at once
const MAX_HELD = 10_000; // events that wait for a snapshot

/** The rooms of the client, as a listener uses them. */
export interface Source {
  /** Everything up to here was received. */
  readonly position: string | undefined;
  readonly chance: () => number;
  report(error: unknown): void;
}

/** While a snapshot is loaded, events wait for it. One that was overtaken by a gap is not applied; so an old
 *  snapshot never overwrites a newer event. */
export class Listener {
  state: RoomState = 'joining';
  readonly options: RoomOptions;
  #source: Source;
  #held: GatewayEvent[] | undefined;
  #abort: AbortController | undefined;
  #attempt = 0;
  #timer = new Timer();

  constructor(options: RoomOptions, source: Source) {
    this.options = options;
    this.#source = source;
  }

  /** The gateway sends the room's events from now on, and its items have come. */
  ready(): void {
    if (this.state === 'live' || this.#abort) return;
    if (this.options.load) this.#load();
    else this.#become('live');
  }

  deliver(event: GatewayEvent): void {
    if (!this.#held) {
      if (this.state === 'live') this.notify('onEvent', event);
    } else if (this.#held.push(event) > MAX_HELD) {
      this.gap('overflow');
    }
  }

  gap(reason: string): void {
    this.notify('onGap', { reason } satisfies Gap);
    if (this.state === 'closed') return;
    if (this.options.load) this.reload(this.#source.chance() * RELOAD_JITTER);
    else if (this.options.state) this.#become('loading');
  }

  /** Loads the snapshot in `delay` milliseconds. What comes until then is in it, so it is dropped. */
  reload(delay: number): void {
    this.#reset();
    this.#abort = new AbortController();
    this.#become('loading');
    this.#timer.set(delay, () => this.#load());
  }

  /** Ends a load; `ready` begins another. */
  stop(): void {
    if (!this.#abort) return;
    this.#reset();
    this.#become('joining');
  }

  close(reason?: string, message?: string): void {
    if (this.state === 'closed') return;
    this.#reset();
    this.#become('closed', reason, message);
  }

  notify(name: 'onEvent' | 'onGap' | 'onState' | 'onLoad' | 'onItems' | 'onPresence', value: unknown): void {
    try {
      (this.options[name] as ((value: unknown) => void) | undefined)?.(value);
    } catch (error) {
      this.#source.report(error);
    }
  }

  async #load(): Promise<void> {
    const abort = this.#abort = new AbortController();
    this.#held = [];
    if (this.state !== 'loading') this.#become('loading');
    try {
      const snapshot = await this.options.load!(this.#source.position!, abort.signal);
      if (abort.signal.aborted) return;
      this.#attempt = 0;
      this.notify('onLoad', snapshot);
      for (const event of this.#held ?? []) if (!abort.signal.aborted) this.notify('onEvent', event);
      if (abort.signal.aborted) return; // by a handler
      this.#abort = this.#held = undefined;
      this.#become('live');
    } catch (error) {
      if (abort.signal.aborted) return;
      this.#source.report(error);
      this.reload(backoff(this.#attempt++, this.#source.chance));
    }
  }

  #reset(): void {
    this.#abort?.abort();
    this.#abort = this.#held = undefined;
    this.#timer.stop();
  }

  #become(state: RoomState, reason?: string, message?: string): void {
    this.state = state;
    this.notify('onState', { state, reason, message } satisfies RoomStateChange);
  }
}

/** A room with its listeners, and its state on the connection. */
export class RoomRecord {
  readonly listeners = new Set<Listener>();
  /** The replay that requests it on this connection, until the reply; for state, until its end. */
  asked: object | undefined;
  /** The connection has joined it. */
  on = false;
  /** A later connection resumes it together with the others. */
  kept = false;
  /** Its items have to be requested. */
  owed = false;
  items: Map<string, GatewayEvent> | undefined;
  /** The items of a replay under way; they replace `items` at its end. */
  next: Map<string, GatewayEvent> | undefined;
  /** The users in it, where presence is watched on this connection. */
  members: Set<string> | undefined;
  #copy: Items | undefined;
  #notified = false;

  constructor(readonly name: string) {}

  /** The items as they are now; the same object until they change. */
  get snapshot(): Items { return this.#copy ??= new Map(this.items); }

  /** Notifies of changed items, once for all changes of one turn of the event loop. */
  changed(): void {
    this.#copy = undefined;
    if (this.#notified) return;
    this.#notified = true;
    queueMicrotask(() => {
      this.#notified = false;
      for (const each of this.listeners) if (each.state === 'live') each.notify('onItems', this.snapshot);
    });
  }

  present(): void { for (const each of this.listeners) each.notify('onPresence', [...this.members!]); }

  ready(): void {
    for (const each of [...this.listeners]) {
      if (each.state !== 'live' && this.items) this.changed();
      each.ready();
    }
  }
}
