/**
 * A browser client of the gateway's WebSocket protocol, version 1. One file, nothing to install: copy it.
 *
 *     import { connect } from '/web/js/client.js';
 *     const client = connect({
 *       url: '/ws/dashboard',
 *       token: async () => (await fetch('/my/gateway-token')).text(),
 *       rooms: ['circle:7', 'project:3'],
 *       onEvent: (event) => console.log(event.type, event.data),
 *       onGap: ({ reason }) => reloadEverything(reason),
 *     });
 *
 * It reconnects by itself and then asks for what it missed: `since` is the cursor of the last event that `onEvent`
 * has *handled*, and a replay that was cut short is asked for again from its own place. Where the gateway cannot give
 * all of it, `onGap` is called before any later event: never silence.
 *
 * @typedef {'connecting'|'live'|'reconnecting'|'closed'} State
 * @typedef {{state: State, reason?: string, code?: number, retryAt?: number, attempt: number}} StateChange
 * @typedef {{type: string, data: object, event_id: string, timestamp: string, circle_id?: number|string,
 *   project_id?: number|string, user_id?: string, source_agent_id?: number|string}} GatewayEvent
 *
 * @typedef {object} Replay  a part of the log that was asked for, and how to ask for the rest of it
 * @property {string[]} rooms
 * @property {{since?: string, history?: number, state?: boolean, presence?: boolean}} how  `since` moves with its events
 * @property {string[]} [fresh]  those of the rooms that it joined
 * @property {number} [left]  events to come; undefined while it is not answered
 * @property {boolean} [again]  it was cut short before: some of its events may be known
 * @property {boolean} [inUrl]
 *
 * @typedef {object} Options
 * @property {string} url  http(s) or ws(s), absolute or relative to the page
 * @property {string | (() => string | Promise<string>)} [token]  a function is asked again for a fresh one; without any
 *   the browser's cookies have to do, and a session that ended is asked for again by a new connection
 * @property {Iterable<string>} [rooms]  to subscribe to, now and after every reconnect; `['*']`: all that the token names
 * @property {string} [since]  cursor to resume from, such as `client.cursor` saved by an earlier page
 * @property {string} [clientId]  a label for people, at most 64 characters
 * @property {'query'|'subprotocol'} [tokenIn]
 * @property {(event: GatewayEvent) => void} [onEvent]  synchronous. When it throws, `onError` hears of it and the event
 *   counts as handled, else one bad event would be replayed for ever
 * @property {(change: StateChange) => void} [onState]
 * @property {(data: {rooms: string[], recovered: boolean|null, replayed: number}) => void} [onSubscribed]
 *   `recovered`: true, nothing is missing; false, something is (`onGap` too); null, there was nothing to resume
 * @property {(gap: {reason: string}) => void} [onGap]  events were lost: reload what you show
 * @property {(error: Error) => void} [onError]  refusals and failures that no promise of yours reports
 * @property {(frame: object) => void} [onFrame]  each frame that is no event (presence.joined, stream.degraded, ...)
 * @property {typeof WebSocket} [WebSocket]  for tests
 * @property {() => number} [random]  for tests
 */

const BACKOFF_MIN = 500, BACKOFF_MAX = 20_000;
const STABLE_AFTER = 10_000; // a connection that lived this long starts the backoff anew
const OPEN_DEADLINE = 10_000; // from dialling to `connection.established`
const REPLY_DEADLINE = 10_000;
const REMEMBERED = 5_000; // event_ids kept to count duplicates
const FINAL_REFUSALS = new Set(['scope_missing', 'too_many_rooms']); // a new connection would be refused the same rooms
const MARKS = new Set(['stream.mark', 'stream.gap', 'pong', 'server.draining']); // whose `cursor` is a place of ours
const ROOMS_IN_URL = 2_000; // with a token of 4,096 characters a request line stays under the usual 8 KiB
const UNHURRIED = new Set([1012, 1013, 4409, 4429]); // the gateway asked for time: no `online` event shortens the wait

/** After each close code: when to come back, and words for a close that gives no reason. A test holds this to the
 *  gateway's own table. After any other code: 'backoff'. */
export const CLOSE_CODES = {
  1006: ['backoff', 'connection lost'],
  1007: ['backoff', 'text that is not UTF-8'],
  1009: ['backoff', 'message too large'],
  1011: ['backoff', 'internal error'],
  1012: ['slot', 'the gateway restarts'],
  1013: ['backoff', 'the gateway is full'],
  4400: ['never', 'bad messages'],
  4401: ['fresh_token', 'token refused'],
  4403: ['never', 'forbidden'],
  4408: ['backoff', 'read too slowly'],
  4409: ['backoff', 'too many connections of this user'],
  4429: ['backoff', 'sent too much'],
};

/** Full jitter: a thousand clients that lost one server do not come back in one wave. @returns {number} milliseconds */
export const backoff = (attempt, random = Math.random) =>
  Math.min(BACKOFF_MAX, BACKOFF_MIN + random() * Math.min(BACKOFF_MAX, BACKOFF_MIN * 2 ** attempt));

/** An `error` frame: `code` is one of the protocol's, or 'disconnected' or 'timeout'; `rooms`, `retry_after`, `limit`
 *  where they help. */
export class GatewayError extends Error {
  constructor({ code, message, ...more }) {
    super(message);
    Object.assign(this, { name: 'GatewayError', code }, more);
  }
}

/** @param {Options} options @returns {GatewayClient} already connecting */
export const connect = (options) => new GatewayClient(options).open();

export class GatewayClient {
  /** @type {State} */ state = 'closed';
  /** `data` of the last `connection.established`. @type {object|undefined} */ session;
  received = 0;
  duplicates = 0; // the gateway promises none; counted so that a page can show it
  gaps = 0;
  #options; #rooms; #random; #token;
  #cursor; // up to here everything of our rooms was handled, except for open replays
  #ws = null;
  #dialled = 0; // number of the current attempt; whatever belongs to an older one is ignored
  #attempt = 0;
  /** Our rooms on this connection, from `#cursor` on. @type {Replay|undefined} */ #base;
  /** Asked for by `subscribe`; a new connection asks for them again. @type {Replay[]} */ #open = [];
  /** Whose events come now: the gateway gives one replay after another. @type {Replay|undefined} */ #current;
  #watched = new Set(); // rooms whose presence is to be told
  #liveAt = Infinity;
  #slotAt = 0; // when `server.draining` told us to come back
  #notBefore = 0; // when an `error` told us to try again
  #hasty = true;
  #tokenRefused = false;
  #expiresAt = Infinity;
  #frames = 0;
  #commands = 0;
  #pending = new Map();
  #timers = new Map();
  #seen = new Map(); // event_id: the connection that brought it

  constructor(options) {
    this.#options = options;
    this.#rooms = new Set(options.rooms);
    this.#random = options.random ?? Math.random;
    this.#cursor = options.since;
  }

  /** Where a later connection goes on; while an older part of the log is replayed, the place there.
   *  @returns {string|undefined} */
  get cursor() { return this.#open.find(({ how }) => how.since)?.how.since ?? this.#cursor; }

  /** The rooms that a reconnect will ask for. */
  get rooms() { return [...this.#rooms]; }

  /** Connects; after `close()`, connects again and resumes. */
  open() {
    if (this.state !== 'closed') return this;
    this.#listen('addEventListener');
    this.#attempt = 0;
    this.#tokenRefused = false;
    this.#dial();
    return this;
  }

  /** Ends the connection for good; `cursor` stays, so `open()` can resume. */
  close(reason = 'closed by this page', code = 1000) {
    if (this.state === 'closed') return;
    this.#listen('removeEventListener');
    this.#detach();
    this.#become('closed', { reason, code });
  }

  /** Loses the socket as a bad network would and comes back after `ms`: to watch a resume. */
  cut(ms = 0) { if (this.state !== 'closed') this.#retry({ reason: 'cut by hand', delay: ms }); }

  /** All rooms or none. Once it is answered, a replay (`since`, `history`, `state`) survives a lost connection.
   *  @param {string[]} rooms @param {{since?: string, history?: number, state?: boolean, presence?: boolean}} how */
  subscribe(rooms, how = {}) { return this.#ask({ rooms: [...rooms], how: { ...how } }); }

  /** All rooms or none. */
  unsubscribe(rooms) {
    const left = new Set(rooms.filter((room) => this.#rooms.delete(room))); // at once: no reconnect brings them back
    return this.#command('unsubscribe', { rooms }, { leave: { rooms, left } });
  }

  /** Resolves once the event is in the log. Lost in between? Send it again with the same `idempotency_key`. */
  publish(event) { return this.#command('publish', { event }); }
  presence(room) { return this.#command('presence', { room }); }

  // ---- connecting

  async #dial() {
    const dialled = ++this.#dialled;
    this.#clear();
    this.#after('open', OPEN_DEADLINE, () => this.#retry({ reason: 'no answer from the gateway' }));
    this.#become('connecting');
    let token;
    try {
      token = await this.#currentToken();
    } catch (error) {
      if (dialled !== this.#dialled) return;
      this.#tell('onError', error);
      return this.#retry({ reason: 'no token to be had' });
    }
    if (dialled !== this.#dialled) return; // closed or cut while the token was fetched
    if (!token && this.#options.token != null) return this.close('token_missing', 4401);
    try {
      this.#connect(token);
    } catch (error) { // the URL is wrong, or the page's Content-Security-Policy forbids it
      this.#tell('onError', error);
      this.close(error.message);
    }
  }

  #connect(token) {
    this.#token = token;
    const since = this.#cursor;
    // These are joined by their replay, from its own place; a replay without a place only looks back from ours.
    const later = new Set(this.#open.flatMap(({ fresh, how }) => (how.since ? fresh : [])));
    const rooms = this.rooms.filter((room) => !later.has(room));
    const text = rooms.join();
    const early = text.length <= ROOMS_IN_URL; // else by command, once established
    this.#base = text || since ? { rooms, how: { since }, again: true, inUrl: early } : undefined;
    // `since` resumes the user's own room too, which needs no subscribing.
    const query = { client_id: this.#options.clientId, since, rooms: early ? text : undefined };
    const protocols = [];
    // A browser cannot set headers on a WebSocket. So the token goes into the query (the default: it passes every
    // proxy, and the gateway keeps it out of its logs), or into the subprotocols, for where a proxy in front logs URLs.
    if (token && this.#options.tokenIn === 'subprotocol') protocols.push('gateway.v1', `gateway.bearer.${token}`);
    else query.token = token;
    const url = new URL(this.#options.url, globalThis.location?.href);
    url.protocol = url.protocol.replace('http', 'ws');
    for (const [name, value] of Object.entries(query)) if (value) url.searchParams.set(name, value);
    const ws = this.#ws = new (this.#options.WebSocket ?? WebSocket)(url.href, protocols);
    ws.onmessage = ({ data }) => this.#receive(data);
    ws.onclose = ({ code, reason }) => this.#closed(code, reason);
  }

  async #currentToken() {
    if (typeof this.#options.token !== 'function') return this.#options.token;
    return this.#token && Date.now() < this.#expiresAt ? this.#token : this.#options.token();
  }

  #closed(code, reason) {
    const [retry, words] = CLOSE_CODES[code] ?? ['backoff', `closed with ${code}`];
    const change = { code, reason: reason || words };
    if (retry === 'never') return this.close(change.reason, code);
    if (retry === 'fresh_token') {
      const renewable = typeof this.#options.token !== 'string' && reason !== 'token_revoked';
      if (!renewable || this.#tokenRefused) return this.close(change.reason, code);
      this.#tokenRefused = true; // a fresh token gets one chance
      this.#token = undefined;
    }
    this.#retry(change);
  }

  #retry({ reason, code, delay }) {
    const now = Date.now();
    if (now - this.#liveAt >= STABLE_AFTER) this.#attempt = 0;
    const slot = this.#slotAt > now ? this.#slotAt - now : undefined;
    const wait = delay ?? slot ?? Math.max(0, this.#notBefore - now) + backoff(this.#attempt, this.#random);
    this.#attempt += 1;
    this.#hasty = delay === undefined && slot === undefined && this.#notBefore <= now && !UNHURRIED.has(code);
    this.#detach();
    this.#become('reconnecting', { reason, code, retryAt: now + wait });
    this.#after('retry', wait, () => this.#dial());
  }

  /** Lets go of the socket at once: a dead network may take minutes to report its close. Frames that still come are
   *  not handled, so the cursor does not count them, so they will be replayed. */
  #detach() {
    this.#dialled += 1;
    this.#clear();
    this.#liveAt = Infinity;
    this.#slotAt = this.#notBefore = 0;
    this.#current = undefined;
    const ws = this.#ws;
    this.#ws = null;
    if (ws) { ws.onmessage = ws.onclose = null; ws.close(); }
    const lost = new GatewayError({ code: 'disconnected', message: 'the connection ended before the reply came' });
    for (const { reject } of this.#pending.values()) reject(lost);
    this.#pending.clear();
  }

  #listen(how) {
    for (const type of ['online', 'offline', 'pageshow']) globalThis[how]?.(type, this.#wake);
    globalThis.document?.[how]('visibilitychange', this.#wake);
  }

  #wake = ({ type }) => {
    if (globalThis.document?.visibilityState === 'hidden') return;
    if (this.state === 'live') this.#probe(5_000); // the network changed under us, or we slept: is it still there?
    else if (this.state === 'reconnecting' && this.#hasty && type !== 'offline') this.#dial();
  };

  // ---- receiving

  #receive(text) {
    this.#frames += 1;
    let frame;
    try {
      frame = JSON.parse(text);
    } catch { // to skip it would be a silent gap
      return this.#retry({ reason: 'unreadable frame' });
    }
    if (frame.event_id !== undefined) return this.#event(frame);
    const { type, data = {}, id } = frame;
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    if (type === 'connection.established') this.#established(frame);
    else if (type === 'subscribed') this.#subscribed(data, id === undefined ? this.#unanswered : pending?.replay);
    else if (type === 'unsubscribed') {
      this.#settle();
      this.#lose(data.rooms);
      this.#seen.clear(); // should the page come back to a room, it wants its events again
    } else if (type === 'authenticated') {
      this.#lose(data.dropped ?? []);
      this.#expires(data.expires_at, frame.timestamp);
    } else if (type === 'subscription.revoked') this.#lose(data.rooms);
    else if (type === 'token.expiring') this.#refresh();
    else if (type === 'server.draining') this.#slotAt = Date.now() + data.reconnect_after_ms;
    else if (type === 'stream.gap') this.#gap(data.reason);
    // All of these say: everything up to `cursor` was given to this connection, or given up.
    if (MARKS.has(type) && data.cursor) {
      this.#settle();
      if (this.#resumed) this.#cursor = data.cursor;
    }
    this.#tell('onFrame', frame);
    if (type !== 'error') return pending?.resolve(data);
    const error = new GatewayError(data);
    if (data.retry_after) this.#notBefore = Date.now() + data.retry_after * 1000;
    if (pending?.leave) this.#join([...pending.leave.left].filter((room) => !data.rooms?.includes(room))); // all or none
    if (pending) return pending.reject(error);
    if (id === undefined && this.#unanswered && this.state === 'live') this.#refused(this.#base, error);
    else this.#tell('onError', error);
  }

  #event(event) {
    const replay = this.#current;
    const before = this.#seen.get(event.event_id);
    if (before === this.#dialled) this.duplicates += 1;
    this.#seen.set(event.event_id, this.#dialled);
    if (this.#seen.size > REMEMBERED) this.#seen.delete(this.#seen.keys().next().value);
    if (!replay?.again || before === undefined || before === this.#dialled) {
      this.received += 1;
      this.#tell('onEvent', event);
    }
    // Only now: had the page died in onEvent, the event would be replayed. While an older part is replayed, or our rooms
    // are not joined yet, the event must not carry our place past what is still owed.
    if (replay) {
      replay.how.since = event.event_id;
      replay.left -= 1;
    }
    if (this.#resumed && (!replay || replay === this.#base)) this.#cursor = event.event_id;
    if (replay?.left === 0) this.#settle();
  }

  /** What the URL asked for, until it is answered by a frame without `id`. */
  get #unanswered() { return this.#base?.inUrl && !this.#resumed ? this.#base : undefined; }

  /** Whether our rooms were joined on this connection, so that what comes now follows `#cursor`. */
  get #resumed() { return this.#base === undefined || this.#base.left !== undefined; }

  #established({ data, timestamp }) {
    this.#clear('open');
    this.session = data;
    this.#tokenRefused = false;
    this.#liveAt = Date.now();
    this.#cursor ??= data.cursor; // resuming: ours is older, and the replay is still to come
    this.#expires(data.expires_at, timestamp);
    if (this.#base && !this.#base.inUrl) this.#askAgain(this.#base);
    for (const replay of [...this.#open]) this.#askAgain(replay);
    if (this.#watched.size) this.#askAgain({ rooms: [...this.#watched], how: { presence: true } });
    this.#beat();
    this.#become('live');
  }

  #subscribed({ rooms, recovered, replayed = 0, items = 0, cursor }, replay) {
    this.#settle(); // one after another: what was answered before has come
    const others = rooms.filter((room) => room !== this.#own);
    if (recovered === false) this.#gap('not_recovered'); // the reply does not say why
    if (replay) {
      replay.fresh ??= others.filter((room) => !this.#rooms.has(room));
      replay.left = replayed + items;
      if (replay.left) this.#current = replay;
      if (replay !== this.#base) this.#keep(replay);
      const { presence } = replay.how;
      if (presence !== undefined) for (const room of others) this.#watched[presence ? 'add' : 'delete'](room);
    }
    this.#join(others);
    if (replay?.inUrl) {
      this.#rooms.delete('*'); // it stood for these
      // `cursor` is the log's head. With a replay still to come, its events are what moves our place. Nor can the head
      // be ours after a command, where replies overtake the events that the gateway still owes to a slow reader.
      if (!replay.left && recovered !== null) this.#cursor = cursor;
    }
    this.#tell('onSubscribed', { rooms, recovered, replayed });
  }

  /** Puts a replay of `subscribe` among those that are open, or takes it out. */
  #keep(replay) {
    const others = this.#open.filter((other) => other !== replay);
    this.#open = replay.left ? [...others, replay] : others;
  }

  /** The gateway has us in these rooms. Those that an `unsubscribe` on its way names are left, unless it is refused. */
  #join(rooms) {
    for (const room of rooms) {
      const { leave } = [...this.#pending.values()].find((command) => command.leave?.rooms.includes(room)) ?? {};
      (leave?.left ?? this.#rooms).add(room);
    }
  }

  #lose(rooms) {
    for (const room of rooms) for (const set of [this.#rooms, this.#watched]) set.delete(room);
  }

  /** All events of the replay that was answered last have come. */
  #settle() {
    const replay = this.#current;
    this.#current = undefined;
    if (replay) this.#end(replay);
  }

  #end(replay) {
    replay.left = 0;
    if (replay !== this.#base) this.#keep(replay);
  }

  #gap(reason) {
    this.gaps += 1;
    this.#seen.clear(); // what the page loads anew is not to be taken for known
    this.#tell('onGap', { reason });
  }

  #ask(replay) { return this.#command('subscribe', { rooms: replay.rooms, ...replay.how }, { replay }); }

  #askAgain(replay) {
    Object.assign(replay, { again: true, left: undefined, rooms: this.#still(replay) });
    if (!replay.rooms.length) return this.#end(replay);
    this.#ask(replay).catch((error) => error.code === 'disconnected' || this.#refused(replay, error));
  }

  get #own() { return `user:${this.session.user_id}`; }

  /** Its rooms without those that were left or refused. */
  #still({ rooms }) { return rooms.filter((room) => this.#rooms.has(room) || room === this.#own); }

  /** All or nothing: one room that is no longer ours would cost us the others, so ask again without it. */
  #refused(replay, error) {
    const { code, rooms = [] } = error;
    this.#tell('onError', error);
    this.#lose(rooms);
    if (code === 'cursor_invalid' && replay.how.since) {
      replay.how.since = undefined;
      this.#gap(code);
      if (replay === this.#base) this.#cursor = this.session.cursor;
    } else if (this.#still(replay).length === replay.rooms.length) {
      if (rooms.length || FINAL_REFUSALS.has(code)) return this.#end(replay);
      return this.#retry({ reason: `not subscribed: ${code}` });
    }
    if (replay.rooms.includes('*')) return this.#retry({ reason: code, delay: 0 }); // no command can say that
    replay.inUrl = false;
    this.#askAgain(replay);
  }

  // ---- sending

  #command(type, fields, more) {
    return new Promise((resolve, reject) => {
      if (this.#ws?.readyState !== 1) return reject(new GatewayError({ code: 'disconnected', message: 'offline' }));
      const id = ++this.#commands;
      const settle = (how) => (value) => { this.#clear(id); how(value); };
      this.#pending.set(id, { resolve: settle(resolve), reject: settle(reject), ...more });
      const wait = () => this.#after(id, REPLY_DEADLINE, () => {
        if (this.#current) return wait(); // rooms change only when a replay has ended
        this.#pending.delete(id);
        reject(new GatewayError({ code: 'timeout', message: `no reply to ${type}` }));
      });
      wait();
      this.#ws.send(JSON.stringify({ type, id, ...fields }));
    });
  }

  /** The page cannot see the protocol's own pings, and a dead network says nothing: ask, and go when nobody answers. */
  #beat() { this.#after('beat', 20_000 + this.#random() * 5_000, () => this.#probe(REPLY_DEADLINE)); }
  #probe(deadline) {
    const frames = this.#frames;
    this.#command('ping').catch(() => {});
    this.#after('beat', deadline, () => {
      if (this.#frames > frames) this.#beat();
      else this.#retry({ reason: 'the gateway stopped answering' });
    });
  }

  /** @param {string|number} at RFC 3339 or seconds @param {string} now the gateway's clock, since ours may be wrong */
  #expires(at, now) {
    const left = (typeof at === 'number' ? at * 1000 : Date.parse(at)) - Date.parse(now);
    if (!(left > 0)) return;
    this.#expiresAt = Date.now() + left;
    // Should `token.expiring` not come. (A longer timer than 2^31 ms would fire at once.)
    this.#after('token', Math.min(left - Math.min(15_000, left / 2), 2 ** 31 - 1), () => this.#refresh());
  }

  async #refresh() {
    if (typeof this.#options.token !== 'function') return;
    const dialled = this.#dialled;
    this.#clear('token');
    try {
      const token = await this.#options.token();
      if (dialled !== this.#dialled) return;
      await this.#command('auth', { token });
      this.#token = token;
    } catch (error) {
      if (dialled !== this.#dialled) return;
      this.#tell('onError', error);
      // The function failed, not the token: there is still time.
      if (!(error instanceof GatewayError)) this.#after('token', 5_000, () => this.#refresh());
    }
  }

  // ---- small things

  #become(state, detail = {}) {
    this.state = state;
    this.#tell('onState', { state, attempt: this.#attempt, ...detail });
  }

  #tell(name, value) {
    try {
      this.#options[name]?.(value);
    } catch (error) {
      if (name === 'onError') console.error(error);
      else this.#tell('onError', error);
    }
  }

  #after(name, ms, action) {
    clearTimeout(this.#timers.get(name));
    this.#timers.set(name, setTimeout(() => { this.#timers.delete(name); action(); }, ms));
  }

  #clear(...names) {
    for (const name of names.length ? names : [...this.#timers.keys()]) {
      clearTimeout(this.#timers.get(name));
      this.#timers.delete(name);
    }
  }
}
