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
 * has *handled*. Where the gateway cannot give all of it, `onGap` is called before any later event: never silence.
 *
 * @typedef {'connecting'|'live'|'reconnecting'|'closed'} State
 * @typedef {{state: State, reason?: string, code?: number, retryAt?: number, attempt: number}} StateChange
 * @typedef {{type: string, data: object, event_id: string, timestamp: string, circle_id?: number|string,
 *   project_id?: number|string, user_id?: string, source_agent_id?: number|string}} GatewayEvent
 *
 * @typedef {object} Options
 * @property {string} url  http(s) or ws(s), absolute or relative to the page
 * @property {string | (() => string | Promise<string>)} token  a function is asked again for a fresh one
 * @property {Iterable<string>} [rooms]  to subscribe to, now and after every reconnect
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
const ROOMS_IN_URL = 2_000; // with a token of 4,096 characters a request line stays under the usual 8 KiB
const FINAL = new Set([4400, 4403, 4409]); // coming back would only be refused again (4401: see #closed)
const UNHURRIED = new Set([1012, 1013, 4429]); // the gateway asked for time: no `online` event shortens the wait
const WORDS = { // for a close that says no reason
  1006: 'connection lost', 1009: 'message too large', 1011: 'internal error', 1012: 'the gateway restarts',
  1013: 'the gateway is full', 4400: 'bad messages', 4401: 'token refused', 4403: 'forbidden',
  4408: 'read too slowly', 4409: 'too many connections of this user', 4429: 'sent too much',
};

/** Full jitter: a thousand clients that lost one server do not come back in one wave. @returns {number} milliseconds */
export const backoff = (attempt, random = Math.random) =>
  Math.min(BACKOFF_MAX, BACKOFF_MIN + random() * Math.min(BACKOFF_MAX, BACKOFF_MIN * 2 ** attempt));

/** An `error` frame: `code` is one of PROTOCOL section 5; `rooms`, `retry_after`, `limit` where they help. */
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
  /** Where a later connection goes on. @type {string|undefined} */ cursor;
  /** `data` of the last `connection.established`. @type {object|undefined} */ session;
  received = 0;
  duplicates = 0; // the gateway promises none; counted so that a page can show it
  gaps = 0;
  #options; #rooms; #random; #token;
  #ws = null;
  #dialled = 0; // number of the current attempt; whatever belongs to an older one is ignored
  #attempt = 0;
  #since; // what this connection resumes from
  #joining; // whose `subscribed` ends the joining of our rooms: 'url', the id of a command, or undefined once it came
  #liveAt = Infinity;
  #slotAt = 0; // when `server.draining` told us to come back
  #hasty = true;
  #tokenRefused = false;
  #expiresAt = Infinity;
  #frames = 0;
  #commands = 0;
  #pending = new Map();
  #timers = new Map();
  #seen = new Set();

  constructor(options) {
    this.#options = options;
    this.#rooms = new Set(options.rooms);
    this.#random = options.random ?? Math.random;
    this.cursor = options.since;
  }

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

  /** All rooms or none. @param {string[]} rooms @param {{since?: string, history?: number, presence?: boolean}} how */
  subscribe(rooms, how = {}) { return this.#command('subscribe', { rooms, ...how }); }
  unsubscribe(rooms) {
    for (const room of rooms) this.#rooms.delete(room);
    return this.#command('unsubscribe', { rooms });
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
    if (!token) return this.close('token_missing', 4401);
    try {
      this.#connect(token);
    } catch (error) { // the URL is wrong, or the page's Content-Security-Policy forbids it
      this.#tell('onError', error);
      this.close(error.message);
    }
  }

  #connect(token) {
    this.#token = token;
    this.#since = this.cursor;
    const rooms = this.rooms.join();
    const early = rooms.length <= ROOMS_IN_URL; // else by command, once established
    this.#joining = early && (rooms || this.#since) ? 'url' : undefined;
    // `since` resumes the user's own room too, which needs no subscribing.
    const query = { client_id: this.#options.clientId, since: this.#since, rooms: early ? rooms : undefined };
    const protocols = [];
    // A browser cannot set headers on a WebSocket. So the token goes into the query (the default: it passes every
    // proxy, and the gateway keeps it out of its logs), or into the subprotocols, for where a proxy in front logs URLs.
    if (this.#options.tokenIn === 'subprotocol') protocols.push('gateway.v1', `gateway.bearer.${token}`);
    else query.token = token;
    const url = new URL(this.#options.url, globalThis.location?.href);
    url.protocol = url.protocol.replace('http', 'ws');
    for (const [name, value] of Object.entries(query)) if (value) url.searchParams.set(name, value);
    const ws = this.#ws = new (this.#options.WebSocket ?? WebSocket)(url.href, protocols);
    ws.onmessage = ({ data }) => this.#receive(data, early);
    ws.onclose = ({ code, reason }) => this.#closed(code, reason);
  }

  async #currentToken() {
    if (typeof this.#options.token !== 'function') return this.#options.token;
    return this.#token && Date.now() < this.#expiresAt ? this.#token : this.#options.token();
  }

  #closed(code, reason) {
    const change = { code, reason: reason || WORDS[code] || `closed with ${code}` };
    if (FINAL.has(code)) return this.close(change.reason, code);
    if (code === 4401) {
      const renewable = typeof this.#options.token === 'function' && reason !== 'token_revoked';
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
    const wait = delay ?? slot ?? backoff(this.#attempt, this.#random);
    this.#attempt += 1;
    this.#hasty = delay === undefined && slot === undefined && !UNHURRIED.has(code);
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
    this.#slotAt = 0;
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

  #receive(text, early) {
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
    if (type === 'connection.established') this.#established(frame, early);
    else if (type === 'subscribed') this.#subscribed(data, id ?? 'url');
    else if (type === 'authenticated') {
      for (const room of data.dropped ?? []) this.#rooms.delete(room);
      this.#expires(data.expires_at, frame.timestamp);
    } else if (type === 'subscription.revoked') for (const room of data.rooms) this.#rooms.delete(room);
    else if (type === 'token.expiring') this.#refresh();
    else if (type === 'server.draining') this.#slotAt = Date.now() + data.reconnect_after_ms;
    else if (type === 'stream.gap') this.#gap(data.reason, data.cursor);
    this.#tell('onFrame', frame);
    if (type !== 'error') return pending?.resolve(data);
    const error = new GatewayError(data);
    if (pending) return pending.reject(error);
    this.#tell('onError', error);
    if (this.#joining === 'url' && this.state === 'live') this.#joinRefused(error);
  }

  #event(event) {
    this.received += 1;
    if (this.#seen.has(event.event_id)) this.duplicates += 1;
    this.#seen.add(event.event_id);
    if (this.#seen.size > REMEMBERED) this.#seen.delete(this.#seen.values().next().value);
    this.#tell('onEvent', event);
    // Only now: had the page died in onEvent, the event would be replayed. And not while rooms are still being joined:
    // an event of the user's own room must not carry the cursor past what those rooms have yet to replay.
    if (this.#joining === undefined) this.cursor = event.event_id;
  }

  #established({ data, timestamp }, early) {
    this.#clear('open');
    this.session = data;
    this.#tokenRefused = false;
    this.#liveAt = Date.now();
    this.cursor ??= data.cursor; // resuming: ours is older, and the replay is still to come
    this.#expires(data.expires_at, timestamp);
    if (!early) this.#join();
    this.#beat();
    this.#become('live');
  }

  #subscribed({ rooms, recovered, replayed = 0, cursor }, answers) {
    for (const room of rooms) if (room !== `user:${this.session.user_id}`) this.#rooms.add(room);
    if (recovered === false) this.#gap('not_recovered'); // the reply does not say why
    if (answers === this.#joining) {
      this.#joining = undefined;
      // `cursor` is the log's head. With a replay still to come, its events are what moves ours. Nor can the head be
      // ours later in a connection, where replies overtake the events that the gateway still owes to a slow reader.
      if (!replayed && (recovered === false || (recovered && answers === 'url'))) this.cursor = cursor;
    }
    this.#tell('onSubscribed', { rooms, recovered, replayed });
  }

  #gap(reason, cursor = this.cursor) {
    this.gaps += 1;
    this.#tell('onGap', { reason });
    this.cursor = cursor;
  }

  #join() {
    if (!this.#rooms.size) return;
    this.#joining = this.#commands + 1;
    this.#command('subscribe', { rooms: this.rooms, since: this.#since }).catch((error) => {
      if (error.code === 'disconnected') return;
      this.#tell('onError', error);
      this.#joinRefused(error);
    });
  }

  /** All or nothing: one room that is no longer ours would cost us the others, so ask again without it. */
  #joinRefused({ code, rooms = [] }) {
    this.#joining = undefined;
    const asked = this.#rooms.size;
    for (const room of rooms) this.#rooms.delete(room);
    if (code === 'cursor_invalid' && this.#since) {
      this.#since = undefined;
      this.#gap(code, this.session.cursor);
      this.#join();
    } else if (rooms.length) {
      if (this.#rooms.size < asked) this.#join();
    } else if (code !== 'scope_missing' && code !== 'too_many_rooms') {
      this.#retry({ reason: `not subscribed: ${code}` });
    }
  }

  // ---- sending

  #command(type, fields) {
    return new Promise((resolve, reject) => {
      if (this.#ws?.readyState !== 1) return reject(new GatewayError({ code: 'disconnected', message: 'offline' }));
      const id = ++this.#commands;
      const settle = (how) => (value) => { this.#clear(id); how(value); };
      this.#pending.set(id, { resolve: settle(resolve), reject: settle(reject) });
      this.#after(id, REPLY_DEADLINE, () => {
        this.#pending.delete(id);
        reject(new GatewayError({ code: 'timeout', message: `no reply to ${type}` }));
      });
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
