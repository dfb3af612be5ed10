/** The connection: dials, greets, resumes, beats, and comes back. What its frames mean for rooms is `Resume`'s. */

import { CLOSE_CODES, UNHURRIED } from './codes.js';
import { Commands } from './commands.js';
import { dial, fitsUrl, ticketFor } from './dial.js';
import { GatewayError } from './errors.js';
import { Resume, type Replay } from './resume.js';
import { backoff, now, Timers } from './timing.js';
import { Token } from './token.js';
import type { AnyEvents, Frame, GatewayEvent, How, Options, Socket, State, StateChange } from './types.js';

const STABLE_AFTER = 10_000; // a connection that lived this long starts the backoff anew
const OPEN_DEADLINE = 10_000; // from dialling to `connection.established`
const ANSWER_DEADLINE = 10_000; // of a ping
const FINAL = new Set(['scope_missing', 'too_many_rooms']); // a new connection would be refused the same rooms

/** What a session tells, synchronously and in the order of its frames. */
export interface Listener {
  state(change: StateChange): void;
  /** Handled when it returns. */
  event(event: GatewayEvent): void;
  /** Something is missing, of these rooms or of all. */
  gap(reason: string, rooms?: readonly string[]): void;
  joined(rooms: string[], data: Frame['data']): void;
  lost(rooms: readonly string[], reason: string): void;
  frame(frame: Frame): void;
  /** Everything up to now was given: an event or a mark that moved the cursor. */
  current(asOf: string): void;
  error(error: Error): void;
}

export class Session {
  state: State = 'closed';
  /** `data` of the last `connection.established`. */
  data: Frame['data'] | undefined;
  readonly resume: Resume;
  readonly random: () => number;
  #options: Options<AnyEvents>;
  #tell: Listener;
  #socket: Socket | undefined;
  #commands: Commands;
  #token: Token;
  #timers = new Timers();
  #attempt = 0;
  #frames = 0;
  #liveAt = Infinity;
  #slotAt = 0; // when `server.draining` told us to come back
  #notBefore = 0; // when an `error` told us to try again
  #hasty = true;

  constructor(options: Options<AnyEvents>, listener: Listener) {
    this.#options = options;
    this.#tell = listener;
    this.random = options.random ?? Math.random;
    this.resume = new Resume(options.rooms, options.since);
    this.#token = new Token(options.token, (token) => this.command('auth', { token }), (error) => this.#tell.error(error));
    this.#commands = new Commands((text) => {
      if (this.#socket?.readyState !== 1) return false;
      this.#socket.send(text);
      return true;
    }, () => this.resume.current !== undefined);
  }

  open(): void {
    if (this.state !== 'closed') return;
    this.#listen('addEventListener');
    this.#attempt = 0;
    this.#token.accepted();
    this.#dial();
  }

  close(reason = 'closed by this page', code = 1000): void {
    if (this.state === 'closed') return;
    this.#listen('removeEventListener');
    this.#detach();
    this.#become('closed', { reason, code });
  }

  /** Loses the socket, and comes back: after `delay` milliseconds, else at its slot or with backoff. */
  retry({ reason, code, delay }: { reason: string; code?: number; delay?: number }): void {
    const at = now();
    if (at - this.#liveAt >= STABLE_AFTER) this.#attempt = 0;
    const slot = this.#slotAt > at ? this.#slotAt - at : undefined;
    const wait = delay ?? slot ?? Math.max(0, this.#notBefore - at) + backoff(this.#attempt, this.random);
    this.#attempt += 1;
    this.#hasty = delay === undefined && slot === undefined && this.#notBefore <= at && !UNHURRIED.has(code);
    this.#detach();
    this.#become('reconnecting', { reason, code, retryAt: Date.now() + wait });
    this.#timers.set('retry', wait, () => this.#dial());
  }

  // ---- commands

  command(type: string, fields: object = {}): Promise<Frame['data']> { return this.#commands.ask(type, fields); }

  subscribe(rooms: Iterable<string>, how: How, done?: () => void): Promise<Frame['data']> {
    return this.#ask({ rooms: [...rooms], how: { ...how }, done });
  }

  unsubscribe(rooms: readonly string[]): Promise<Frame['data']> {
    const resume = this.resume;
    // At once: no reconnect brings them back.
    const leave = { rooms, left: new Set(rooms.filter((room) => resume.rooms.delete(room))) };
    resume.leaving.add(leave);
    return this.#commands.ask('unsubscribe', { rooms }, { leave }).finally(() => resume.leaving.delete(leave));
  }

  #ask(replay: Replay): Promise<Frame['data']> {
    return this.#commands.ask('subscribe', { rooms: replay.rooms, ...replay.how }, { replay });
  }

  // ---- connecting

  async #dial(): Promise<void> {
    const { resume } = this;
    const dialled = ++resume.connection;
    const { url, clientId, tokenIn } = this.#options;
    this.#timers.clear();
    this.#timers.set('open', OPEN_DEADLINE, () => this.retry({ reason: 'no answer from the gateway' }));
    this.#become('connecting');
    let token: string | undefined;
    let ticket: string | undefined;
    try {
      token = await this.#token.get();
      if (token && tokenIn === 'ticket' && dialled === resume.connection) ticket = await ticketFor(url, token);
    } catch (error) {
      if (dialled !== resume.connection) return;
      this.#tell.error(error as Error);
      return this.#refusedTicket(error as GatewayError);
    }
    if (dialled !== resume.connection) return; // closed or cut meanwhile
    if (!token && this.#options.token != null) return this.close('token_missing', 4401);
    const base = resume.begin(fitsUrl);
    const asked = base?.inUrl ? base.rooms.join() : undefined;
    // `since` resumes the user's own room too, which needs no subscribing.
    const query = { client_id: clientId, since: resume.position, rooms: asked, state: base?.how.state ? '1' : undefined, ticket };
    try {
      const socket = this.#socket = dial(this.#options, query, token);
      socket.onmessage = ({ data }) => this.#receive(data);
      socket.onclose = ({ code, reason }) => this.#closed(code, String(reason));
      socket.onerror = () => {}; // a close follows
    } catch (error) { // no WebSocket, a wrong URL, or the page's Content-Security-Policy forbids it
      this.#tell.error(error as Error);
      this.close((error as Error).message);
    }
  }

  /** No token or ticket came: from a function or a gateway that fails, or for a token that is refused. */
  #refusedTicket({ code, retry_after }: GatewayError): void {
    if (code?.startsWith('token_')) return this.#closed(4401, code);
    if (retry_after) this.#notBefore = now() + retry_after * 1000;
    this.retry({ reason: 'no token to be had' });
  }

  #closed(code: number, reason: string): void {
    const [rule, words] = CLOSE_CODES[code] ?? ['backoff', `closed with ${code}`];
    const change = { code, reason: reason || words };
    if (rule === 'never' || (rule === 'fresh_token' && !this.#token.mayRenew(reason))) return this.close(change.reason, code);
    this.retry(change);
  }

  /** Lets go of the socket at once: a dead network may take minutes to report its close. Frames that still come are
   *  not handled, so the cursor does not count them, so they will be replayed. */
  #detach(): void {
    this.resume.connection += 1;
    this.#timers.clear();
    this.#liveAt = Infinity;
    this.#slotAt = this.#notBefore = 0;
    this.resume.current = undefined;
    const socket = this.#socket;
    this.#socket = undefined;
    if (socket) {
      socket.onmessage = socket.onclose = null;
      socket.close();
    }
    this.#commands.fail();
    this.#token.stop();
  }

  #listen(how: 'addEventListener' | 'removeEventListener'): void {
    for (const type of ['online', 'offline', 'pageshow']) globalThis[how]?.(type, this.#wake);
    globalThis.document?.[how]('visibilitychange', this.#wake);
  }

  #wake = ({ type }: { type: string }): void => {
    if (globalThis.document?.visibilityState === 'hidden') return;
    if (this.state === 'live') this.#probe(5_000); // the network changed under us, or we slept: is it still there?
    else if (this.state === 'reconnecting' && this.#hasty && type !== 'offline') this.#dial();
  };

  // ---- receiving

  #receive(text: string): void {
    this.#frames += 1;
    let frame;
    try {
      frame = JSON.parse(text);
    } catch { // to skip it would be a silent gap
      return this.retry({ reason: 'unreadable frame' });
    }
    if (frame.event_id === undefined) this.#control(frame);
    else this.#event(frame);
  }

  #event(event: GatewayEvent): void {
    const { resume } = this;
    const replay = resume.current;
    if (resume.isNew(event.event_id)) this.#tell.event(event);
    // Only now: had the page died in its handler, the event would be replayed.
    if (resume.handled(event.event_id, replay)) this.#tell.current(event.timestamp);
  }

  #control(frame: Frame): void {
    const { resume } = this;
    const { type, data = {}, id } = frame;
    const pending = this.#commands.take(id);
    if (pending?.leave) resume.leaving.delete(pending.leave);
    if (type === 'connection.established') this.#established(frame);
    else if (type === 'subscribed') this.#subscribed(data, id === undefined ? resume.unanswered : pending?.replay);
    else if (type === 'unsubscribed') {
      resume.settle();
      resume.lose(data.rooms);
      resume.forget(); // should the page come back to a room, it wants its events again
    } else if (type === 'authenticated') {
      this.#lose(data.dropped ?? [], 'token');
      this.#token.expires(data.expires_at, frame.timestamp);
    } else if (type === 'subscription.revoked') this.#lose(data.rooms, data.reason);
    else if (type === 'token.expiring') this.#token.refresh();
    else if (type === 'server.draining') this.#slotAt = now() + data.reconnect_after_ms;
    else if (type === 'stream.gap') this.#gap(data.reason);
    resume.mark(frame);
    this.#tell.frame(frame);
    if (data.as_of && data.cursor) this.#tell.current(data.as_of);
    if (type !== 'error') return pending?.resolve(data);
    const error = new GatewayError(data as GatewayError);
    if (data.retry_after) this.#notBefore = now() + data.retry_after * 1000;
    if (pending?.leave) resume.join([...pending.leave.left].filter((room) => !data.rooms?.includes(room))); // all or none
    if (pending) pending.reject(error);
    else if (id === undefined && resume.unanswered && this.state === 'live') this.#refused(resume.base!, error);
    else this.#tell.error(error);
  }

  #established({ data, timestamp }: Frame): void {
    const { resume } = this;
    this.#timers.clear('open');
    this.data = data;
    this.#token.accepted();
    this.#liveAt = now();
    resume.establish(data.user_id, data.cursor);
    this.#token.expires(data.expires_at, timestamp);
    if (resume.base && !resume.base.inUrl) this.#askAgain(resume.base);
    for (const replay of [...resume.open]) this.#askAgain(replay);
    if (resume.watched.size) this.#askAgain({ rooms: [...resume.watched], how: { presence: true } });
    this.#beat();
    this.#become('live');
  }

  #subscribed(data: Frame['data'], replay: Replay | undefined): void {
    this.resume.answered(data.rooms, data, replay);
    if (data.recovered === false) this.#gap('not_recovered', data.rooms); // the reply does not say why
    this.#tell.joined(data.rooms, data);
  }

  #gap(reason: string, rooms?: readonly string[]): void {
    this.resume.forget();
    this.#tell.gap(reason, rooms);
  }

  #lose(rooms: readonly string[], reason: string): void {
    this.resume.lose(rooms);
    if (rooms.length) this.#tell.lost(rooms, reason);
  }

  // ---- asking again

  #askAgain(replay: Replay): void {
    Object.assign(replay, { again: true, left: undefined, rooms: this.resume.still(replay) });
    if (!replay.rooms.length) return this.resume.end(replay);
    this.#ask(replay).catch((error) => error.code === 'disconnected' || this.#refused(replay, error));
  }

  /** All or nothing: one room that is no longer ours would cost us the others, so ask again without it. */
  #refused(replay: Replay, error: GatewayError): void {
    const { resume } = this;
    const { code, rooms = [] } = error;
    this.#tell.error(error);
    this.#lose(rooms, code);
    if (code === 'cursor_invalid' && replay.how.since) {
      replay.how.since = undefined;
      this.#gap(code, replay.rooms);
      if (replay === resume.base) resume.position = this.data!.cursor;
    } else if (resume.still(replay).length === replay.rooms.length) {
      if (rooms.length || FINAL.has(code)) return resume.end(replay);
      return this.retry({ reason: `not subscribed: ${code}` });
    }
    if (replay.rooms.includes('*')) return this.retry({ reason: code, delay: 0 }); // no command can say that
    replay.inUrl = false;
    this.#askAgain(replay);
  }

  // ---- heartbeat

  /** The page cannot see the protocol's own pings, and a dead network says nothing: ask, and go when nobody answers. */
  #beat(): void { this.#timers.set('beat', 20_000 + this.random() * 5_000, () => this.#probe(ANSWER_DEADLINE)); }

  #probe(deadline: number): void {
    const frames = this.#frames;
    this.command('ping').catch(() => {}); // the timer judges
    this.#timers.set('beat', deadline, () => {
      if (this.#frames > frames) this.#beat();
      else this.retry({ reason: 'the gateway stopped answering' });
    });
  }

  #become(state: State, detail: Partial<StateChange> = {}): void {
    this.state = state;
    this.#tell.state({ state, attempt: this.#attempt, ...detail });
  }
}
