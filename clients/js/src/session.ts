/** The connection of a client: handshake, heartbeat, reconnects. `Rooms` handles the frames about rooms. */

import { CLOSE_CODES, NOT_URGENT } from './codes.js';
import { Commands } from './commands.js';
import { dial } from './dial.js';
import { GatewayError } from './errors.js';
import { FreshnessClock } from './freshness.js';
import { Rooms } from './rooms.js';
import { backoff, now, Timer } from './timing.js';
import { Token } from './token.js';
import type { Notify } from './notify.js';
import type { Frame, Options, Socket, State, StateChange } from './types.js';

const STABLE_AFTER = 10_000; // a connection that lived this long resets the backoff
const OPEN_DEADLINE = 10_000; // from dialling to `connection.established`
const ANSWER_DEADLINE = 10_000; // of a ping

export class Session {
  state: State = 'closed';
  /** `data` of the last `connection.established`. */
  data: Frame['data'] | undefined;
  readonly rooms: Rooms;
  readonly options: Options;
  readonly notify: Notify;
  readonly chance: () => number;
  readonly fresh = new FreshnessClock();
  #socket: Socket | undefined;
  #commands = new Commands(this);
  #token = new Token(this);
  #timer = new Timer(); // until the next attempt or ping, or the deadline of an answer
  #dialled = 0; // number of the attempt; what belongs to an older one is ignored
  #attempt = 0;
  #frames = 0;
  #liveAt = Infinity;
  #slotAt: number | undefined; // the slot of `server.draining`
  #notBefore = 0; // the end of an error's `retry_after`
  #urgent = true; // `online` and the like may shorten the wait for the next attempt
  #unreached = 0; // attempts in a row that no gateway answered; after an odd number of them the fallback is tried

  constructor(options: Options, notify: Notify) {
    this.options = options;
    this.notify = notify;
    this.chance = options.random ?? Math.random;
    this.rooms = new Rooms(this);
  }

  /** Whether commands can be sent. A socket may end long before its close event comes. */
  get open(): boolean { return this.#socket?.readyState === 1; }

  transmit(text: string): boolean {
    const { open } = this;
    if (open) this.#socket!.send(text);
    return open;
  }

  start(): void {
    if (this.state !== 'closed') return;
    this.#listen('addEventListener');
    this.#attempt = 0;
    this.#dial();
  }

  close(reason = 'closed by hand', code = 1000): void {
    if (this.state === 'closed') return;
    this.#listen('removeEventListener');
    this.#detach();
    this.rooms.stop();
    this.#become('closed', { reason, code });
  }

  /** Drops the socket and reconnects: after `delay` milliseconds, else in its slot or with backoff. */
  retry(reason: string, code?: number, delay?: number): void {
    const at = now();
    if (at - this.#liveAt >= STABLE_AFTER) this.#attempt = 0;
    if (this.#liveAt === Infinity && (code ?? 1006) === 1006) this.#unreached += 1;
    const slot = this.#slotAt && Math.max(0, this.#slotAt - at);
    const wait = delay ?? slot ?? Math.max(0, this.#notBefore - at) + backoff(this.#attempt, this.chance);
    this.#attempt += 1;
    this.#urgent = delay === undefined && this.#notBefore <= at && !NOT_URGENT.includes(code!);
    this.#detach(code);
    this.#timer.set(wait, () => this.#dial()); // first: the callback may close the client
    this.#become('reconnecting', { reason, code, retryAt: Date.now() + wait });
  }

  /** Calls `done` or `failed` synchronously with the reply. */
  ask(...command: Parameters<Commands['ask']>): void { this.#commands.ask(...command); }

  command(type: string, fields: object = {}): Promise<Frame['data']> {
    return new Promise((resolve, reject) => this.ask(type, fields, resolve, reject));
  }

  // ---- connecting

  async #dial(): Promise<void> {
    const dialled = ++this.#dialled;
    this.#timer.set(OPEN_DEADLINE, () => this.retry('no answer from the gateway'));
    this.#become('connecting');
    try {
      const token = await this.#token.get();
      if (dialled !== this.#dialled) return; // closed or cut meanwhile
      if (!token && this.options.token != null) return this.close('token_missing', 4401);
      try {
        const { fallback = dial } = this.options;
        const socket = this.#socket = (this.#unreached % 2 ? fallback : dial)(this.options, this.rooms.begin(), token);
        socket.onmessage = ({ data }) => this.#receive(data);
        socket.onclose = ({ code, reason }) => this.#closed(code, String(reason));
        socket.onerror = () => this.#closed(1006, ''); // Node 20 fires `error` but no `close` when the handshake fails
      } catch (error) { // no WebSocket, a wrong URL, or the page's Content-Security-Policy forbids it
        this.notify('onError', error);
        this.close((error as Error).message);
      }
    } catch (error) {
      if (dialled !== this.#dialled) return;
      this.notify('onError', error);
      this.retry('no token');
    }
  }

  #closed(code: number, reason: string): void {
    const rule = CLOSE_CODES[code];
    reason ||= `closed with ${code}`;
    if (rule === 'never' || (rule === 'fresh_token' && !this.#token.mayRenew(reason))) this.close(reason, code);
    else this.retry(reason, code);
  }

  /** Drops the socket at once: a dead network may take minutes to report its close. Frames that still come are
   *  not handled, so the cursor does not count them, so they will be replayed. */
  #detach(code?: number): void {
    this.#dialled += 1;
    this.#timer.stop();
    this.#liveAt = Infinity;
    this.#slotAt = undefined;
    this.#notBefore = 0;
    const socket = this.#socket;
    this.#socket = undefined;
    if (socket) {
      socket.onmessage = socket.onclose = null;
      socket.onerror = () => {}; // without a listener, ws throws
      socket.close();
    }
    this.#token.stop();
    this.rooms.lost();
    this.#commands.fail(code);
  }

  #listen(how: 'addEventListener' | 'removeEventListener'): void {
    for (const type of ['online', 'offline', 'pageshow', 'visibilitychange']) globalThis[how]?.(type, this.#wake);
  }

  #wake = ({ type }: { type: string }): void => {
    if (globalThis.document?.visibilityState === 'hidden') return;
    if (this.state === 'live') this.#probe(5_000); // after a change of the network or sleep the socket may be dead
    else if (this.state === 'reconnecting' && this.#urgent && type !== 'offline') this.#dial();
  };

  // ---- receiving

  #receive(text: string): void {
    this.#frames += 1;
    let frame;
    try {
      frame = JSON.parse(text);
    } catch { // to skip it would be a silent gap
      return this.retry('unreadable frame');
    }
    if (frame.event_id === undefined) this.#control(frame);
    else this.rooms.deliver(frame);
  }

  #control(frame: Frame): void {
    const { type, data = {}, id, timestamp } = frame;
    if (type === 'connection.established') this.#established(frame);
    else if (type === 'authenticated') this.#token.expires(data.expires_at, timestamp);
    else if (type === 'token.expiring') this.#token.refresh();
    else if (type === 'server.draining') this.#slotAt = now() + data.reconnect_after_ms;
    this.fresh.frame(type, timestamp);
    this.rooms.frame(frame);
    this.notify('onFrame', frame);
    if (type !== 'error') return void this.#commands.settle(id, data);
    const error = new GatewayError(data as GatewayError);
    if (error.retry_after) this.#notBefore = now() + error.retry_after * 1000;
    if (!this.#commands.settle(id, data, error) && !this.rooms.refuse(error)) this.notify('onError', error);
  }

  #established(frame: Frame): void {
    this.data = frame.data;
    this.#token.expires(frame.data.expires_at, frame.timestamp);
    this.#liveAt = now();
    this.#unreached %= 2;
    this.#beat();
    this.rooms.established(frame.data);
    this.#become('live');
  }

  // ---- heartbeat

  /** Sends a `ping`, and reconnects if no frame comes back: browsers hide the protocol's pings from the page, and a dead
   *  network does not close the socket. */
  #beat(): void { this.#timer.set(20_000 + this.chance() * 5_000, () => this.#probe(ANSWER_DEADLINE)); }

  #probe(deadline: number): void {
    const frames = this.#frames;
    this.command('ping').catch(() => {}); // the timer judges
    this.#timer.set(deadline, () => {
      if (this.#frames > frames) this.#beat();
      else this.retry('no answer from the gateway');
    });
  }

  #become(state: State, detail: Partial<StateChange> = {}): void {
    this.state = state;
    this.notify('onState', { state, attempt: this.#attempt, ...detail });
  }
}
