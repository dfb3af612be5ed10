/** The client: one connection, its rooms, and publishing. */

import { publish } from './publisher.js';
import { Session } from './session.js';
import type { Notify } from './notify.js';
import type {
  AnyEvents, Draft, Frame, Freshness, Options, Presence, Published, Room, RoomOptions, State, StateChange,
} from './types.js';

/** Connects at once; `new GatewayClient(options)` waits for `open()`. */
export const connect = <E extends object = AnyEvents>(options: Options<E>): GatewayClient<E> =>
  new GatewayClient<E>(options).open();

export class GatewayClient<E extends object = AnyEvents> {
  /** The last change of `state`. */
  change: StateChange = { state: 'closed', attempt: 0 };
  #options: Options;
  #session: Session;
  /** The options, and the observers. */
  #observers = new Set<Pick<Options, Parameters<Notify>[0]>>();

  constructor(options: Options<E>) {
    this.#options = options as unknown as Options;
    this.#observers.add(this.#options);
    this.#session = new Session(this.#options, (name, value) => this.#notify(name, value));
    for (const name of options.rooms ?? []) this.room(name);
  }

  get state(): State { return this.change.state; }

  /** `data` of the last `connection.established`. */
  get session(): Frame['data'] | undefined { return this.#session.data; }

  /** Everything up to here was handled. Save it to resume in another page. */
  get cursor(): string | undefined { return this.#session.rooms.position; }

  /** The rooms that are followed. */
  get rooms(): string[] { return this.#session.rooms.names; }

  /** Events that came twice on one connection: a fault of the gateway. They are counted and not delivered. */
  get duplicates(): number { return this.#session.rooms.duplicates; }

  get freshness(): Freshness { return this.#session.fresh.measure(this.state === 'live', this.#options.staleAfter ?? 40_000); }

  /** Connects; after `close()`, connects again and resumes. */
  open(): this {
    this.#session.start();
    return this;
  }

  /** Ends the connection for good; rooms and cursor stay, so `open()` can resume. */
  close(reason?: string): void { this.#session.close(reason); }

  /** Drops the socket, as a bad network would, and reconnects after `ms`: to watch a resume. */
  cut(ms = 0): void {
    if (this.state !== 'closed') this.#session.retry('cut by hand', undefined, ms);
  }

  /** Follows a room, on the one connection, until `close()` of what this returns. */
  room<S>(name: string, options: RoomOptions<E, S> = {}): Room<E> {
    const [record, listener] = this.#session.rooms.open(name, options as unknown as RoomOptions);
    const room = {
      name,
      get state() { return listener.state; },
      get items() { return record.snapshot; },
      reload: () => {
        if (listener.options.load) listener.reload(0);
        if (listener.options.state) this.#session.rooms.reload(record);
      },
      close: () => this.#session.rooms.close(record, listener),
    };
    return room as unknown as Room<E>;
  }

  /** Resolves once the event is in the log: once, even if it had to be sent again. Rejects with `GatewayError` where it
   *  was refused, or within a minute where the gateway could not be reached. */
  publish(event: Draft<E>): Promise<Published> {
    return publish(event, this.#session, (ms, wait) => this.#whenLive(ms, wait));
  }

  /** Asks for the newest `count` events, at most 100, from before the rooms were joined. They come as events, though they
   *  are older than others that came. Resolves to how many will: `replayed`. */
  history(count: number): Promise<{ replayed: number }> {
    return this.#session.rooms.history(count) as Promise<{ replayed: number }>;
  }

  /** The users in a room now. */
  presence(room: string): Promise<Presence> { return this.#session.command('presence', { room }) as Promise<Presence>; }

  /** Calls `observer` with each change of `state`; returns a function that ends it. */
  observe(observer: (change: StateChange) => void): () => void {
    const observing = { onState: observer };
    this.#observers.add(observing);
    return () => { this.#observers.delete(observing); };
  }

  #whenLive(ms: number, wait: number): Promise<boolean> {
    return new Promise((resolve) => {
      let due = !wait;
      const end = (live: boolean) => {
        stop();
        timers.forEach(clearTimeout);
        resolve(live);
      };
      const check = () => {
        if (this.state === 'closed') end(false);
        else if (due && this.state === 'live' && this.#session.open) end(true);
      };
      const stop = this.observe(check);
      const timers = [setTimeout(end, ms, false), setTimeout(() => { due = true; check(); }, wait)];
      check();
    });
  }

  #notify(name: Parameters<Notify>[0], value: unknown): void {
    if (name === 'onState') this.change = value as StateChange;
    for (const each of [...this.#observers]) {
      try {
        (each[name] as ((value: unknown) => void) | undefined)?.(value);
      } catch (error) {
        if (name === 'onError') console.error(error);
        else this.#notify('onError', error);
      }
    }
  }
}
