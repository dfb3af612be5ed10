/** The client: one connection, and what an application asks of it. */

import { Session } from './session.js';
import type { AnyEvents, Draft, Frame, How, Options, State } from './types.js';

/** Connects at once; `new GatewayClient(options)` waits for `open()`. */
export const connect = <E extends object = AnyEvents>(options: Options<E>): GatewayClient<E> =>
  new GatewayClient<E>(options).open();

export class GatewayClient<E extends object = AnyEvents> {
  /** Events that `onEvent` was given. */
  received = 0;
  /** Losses that `onGap` was told. */
  gaps = 0;
  #options: Options<AnyEvents>;
  #session: Session;

  constructor(options: Options<E>) {
    this.#options = options as unknown as Options<AnyEvents>;
    this.#session = new Session(this.#options, {
      state: (change) => this.#tell('onState', change),
      event: (event) => {
        this.received += 1;
        this.#tell('onEvent', event);
      },
      gap: (reason) => {
        this.gaps += 1;
        this.#tell('onGap', { reason });
      },
      joined: (rooms, { recovered, replayed = 0 }) => this.#tell('onSubscribed', { rooms, recovered, replayed }),
      lost: () => {},
      frame: (frame) => this.#tell('onFrame', frame),
      current: () => {},
      error: (error) => this.#tell('onError', error),
    });
  }

  get state(): State { return this.#session.state; }

  /** `data` of the last `connection.established`. */
  get session(): Frame['data'] | undefined { return this.#session.data; }

  /** Where a later connection goes on: everything up to here was handled. Save it to resume in another page. */
  get cursor(): string | undefined { return this.#session.resume.cursor; }

  /** The rooms that a reconnect will ask for. */
  get rooms(): string[] { return [...this.#session.resume.rooms]; }

  /** Events that came twice on one connection: none, or the gateway has a fault. */
  get duplicates(): number { return this.#session.resume.duplicates; }

  /** Connects; after `close()`, connects again and resumes. */
  open(): this {
    this.#session.open();
    return this;
  }

  /** Ends the connection for good; `cursor` stays, so `open()` can resume. */
  close(reason?: string): void { this.#session.close(reason); }

  /** Loses the socket as a bad network would and comes back after `ms`: to watch a resume. */
  cut(ms = 0): void {
    if (this.state !== 'closed') this.#session.retry({ reason: 'cut by hand', delay: ms });
  }

  /** All rooms or none. Once it is answered, a replay (`since`, `history`, `state`) survives a lost connection. */
  subscribe(rooms: Iterable<string>, how: How = {}): Promise<Frame['data']> { return this.#session.subscribe(rooms, how); }

  /** All rooms or none. */
  unsubscribe(rooms: readonly string[]): Promise<Frame['data']> { return this.#session.unsubscribe(rooms); }

  /** Resolves once the event is in the log. */
  publish(event: Draft<E>): Promise<{ event_id: string; duplicate: boolean }> {
    return this.#session.command('publish', { event }) as Promise<{ event_id: string; duplicate: boolean }>;
  }

  presence(room: string): Promise<Frame['data']> { return this.#session.command('presence', { room }); }

  #tell(name: 'onState' | 'onEvent' | 'onGap' | 'onSubscribed' | 'onFrame' | 'onError', value: unknown): void {
    try {
      (this.#options[name] as ((value: unknown) => void) | undefined)?.(value);
    } catch (error) {
      if (name === 'onError') console.error(error);
      else this.#tell('onError', error);
    }
  }
}
