/** Client of the gathering gateway, one file: copy it. Built from clients/js; see its README. */

// src/codes.ts
var CLOSE_CODES = {
  1006: ["backoff", "connection lost"],
  1007: ["backoff", "text that is not UTF-8"],
  1009: ["backoff", "message too large"],
  1011: ["backoff", "internal error"],
  1012: ["slot", "the gateway restarts"],
  1013: ["backoff", "the gateway is full"],
  4400: ["never", "bad messages"],
  4401: ["fresh_token", "token refused"],
  4403: ["never", "forbidden"],
  4408: ["backoff", "read too slowly"],
  4409: ["backoff", "too many connections of this user"],
  4429: ["backoff", "sent too much"]
};
var UNHURRIED = /* @__PURE__ */ new Set([1012, 1013, 4409, 4429]);

// src/errors.ts
var GatewayError = class extends Error {
  name = "GatewayError";
  constructor({ message, ...fields }) {
    super(message);
    Object.assign(this, fields);
  }
};
var disconnected = () => new GatewayError({ code: "disconnected", message: "the connection ended before the reply came" });

// src/timing.ts
var MIN = 500;
var MAX = 2e4;
var backoff = (attempt, random = Math.random) => Math.min(MAX, MIN + random() * Math.min(MAX, MIN * 2 ** attempt));
var now = () => performance.now();
var LONGEST = 2 ** 31 - 1;
var Timers = class {
  #running = /* @__PURE__ */ new Map();
  /** Runs `action` once, in `ms`; a timer of the same name is replaced. */
  set(name, ms, action) {
    this.clear(name);
    this.#running.set(name, setTimeout(() => {
      this.#running.delete(name);
      action();
    }, Math.min(ms, LONGEST)));
  }
  /** Stops these timers, or all. */
  clear(...names) {
    for (const name of names.length ? names : [...this.#running.keys()]) {
      clearTimeout(this.#running.get(name));
      this.#running.delete(name);
    }
  }
};

// src/commands.ts
var REPLY_DEADLINE = 1e4;
var Commands = class {
  /** `send` puts the text on the wire; false where there is none. While `busy`, replies may be held up by a replay. */
  constructor(send, busy) {
    this.send = send;
    this.busy = busy;
  }
  send;
  busy;
  #last = 0;
  #pending = /* @__PURE__ */ new Map();
  #timers = new Timers();
  ask(type, fields, more = {}) {
    return new Promise((resolve, reject) => {
      const id = ++this.#last;
      if (!this.send(JSON.stringify({ type, id, ...fields }))) return reject(disconnected());
      this.#pending.set(id, { resolve, reject, ...more });
      const wait = () => this.#timers.set(id, REPLY_DEADLINE, () => {
        if (this.busy()) return wait();
        this.take(id).reject(new GatewayError({ code: "timeout", message: `no reply to ${type}` }));
      });
      wait();
    });
  }
  /** The command that a reply with this `id` answers; it waits no more. */
  take(id) {
    const pending = this.#pending.get(id);
    if (pending) this.#timers.clear(id);
    this.#pending.delete(id);
    return pending;
  }
  /** Rejects all: no reply will come. */
  fail() {
    for (const id of [...this.#pending.keys()]) this.take(id).reject(disconnected());
  }
};

// src/dial.ts
var ROOMS_IN_URL = 2e3;
var fitsUrl = (rooms) => rooms.join().length <= ROOMS_IN_URL;
var absolute = (url) => new URL(url, globalThis.location?.href);
function route(url, path) {
  const found = new URL(`../${path}`, absolute(url));
  found.protocol = found.protocol.replace("ws", "http");
  found.search = "";
  return found;
}
async function ticketFor(url, token) {
  const reply = await fetch(route(url, "tickets"), { method: "POST", headers: { Authorization: `Bearer ${token}` } });
  const body = await reply.json();
  if (reply.ok) return body.ticket;
  throw new GatewayError({
    code: body.code,
    message: body.detail ?? body.title,
    retry_after: Number(reply.headers.get("Retry-After"))
  });
}
function dial({ url, tokenIn, WebSocket = globalThis.WebSocket }, query, token) {
  if (!WebSocket) {
    throw new Error("this platform has no WebSocket; install the package ws and pass { WebSocket } from 'ws', or use Node 22");
  }
  const target = absolute(url);
  target.protocol = target.protocol.replace("http", "ws");
  const protocols = [];
  if (token && tokenIn === "query") query = { ...query, token };
  else if (token && tokenIn !== "ticket") protocols.push("gateway.v1", `gateway.bearer.${token}`);
  for (const [name, value] of Object.entries(query)) if (value) target.searchParams.set(name, value);
  return new WebSocket(target.href, protocols);
}

// src/resume.ts
var REMEMBERED = 5e3;
var MARKS = /* @__PURE__ */ new Set(["stream.mark", "stream.gap", "pong", "server.draining"]);
var Resume = class {
  rooms;
  /** Rooms whose presence is told. */
  watched = /* @__PURE__ */ new Set();
  /** Rooms whose items are kept. */
  stateful = /* @__PURE__ */ new Set();
  /** Up to here everything of our rooms was handled, save what open replays owe. */
  position;
  /** The number of the attempt to connect; whatever belongs to an older one is ignored. */
  connection = 0;
  /** Our rooms on this connection, from `position` on. */
  base;
  /** Of commands; a new connection asks for them again. */
  open = [];
  /** Whose events come now: the gateway gives one replay after another. */
  current;
  leaving = /* @__PURE__ */ new Set();
  duplicates = 0;
  // the gateway promises none; counted so that a page can show it
  #own = "";
  #seen = /* @__PURE__ */ new Map();
  // event_id: the connection that brought it
  constructor(rooms = [], since) {
    this.rooms = new Set(rooms);
    this.position = since;
  }
  /** Where a later connection goes on; while an older part of the log is replayed, the place there. */
  get cursor() {
    return this.open.find(({ how }) => how.since)?.how.since ?? this.position;
  }
  /** What the URL asked for, until it is answered by a frame without `id`. */
  get unanswered() {
    return this.base?.inUrl && !this.resumed ? this.base : void 0;
  }
  /** Whether our rooms were joined on this connection, so that what comes now follows `position`. */
  get resumed() {
    return this.base === void 0 || this.base.left !== void 0;
  }
  /** What a new connection asks for first; `inUrl` where its URL does. */
  begin(fits) {
    const later = new Set(this.open.flatMap(({ fresh, how: how2 }) => how2.since && fresh || []));
    const rooms = [...this.rooms].filter((room) => !later.has(room));
    const inUrl = fits(rooms);
    const how = { since: this.position };
    if (this.position && this.stateful.size) how.state = true;
    this.base = rooms.length || this.position ? { rooms, how, again: true, inUrl } : void 0;
    return this.base;
  }
  /** The connection is established. */
  establish(userId, head) {
    this.#own = `user:${userId}`;
    this.position ??= head;
  }
  /** Answered: these rooms are joined. */
  answered(rooms, data, replay) {
    this.settle();
    const others = rooms.filter((room) => room !== this.#own);
    if (replay) {
      replay.fresh ??= others.filter((room) => !this.rooms.has(room));
      replay.left = (data.replayed ?? 0) + (data.items ?? 0);
      if (replay.left) this.current = replay;
      const { presence, state } = replay.how;
      if (presence !== void 0) for (const room of others) this.watched[presence ? "add" : "delete"](room);
      if (state && replay !== this.base) for (const room of others) this.stateful.add(room);
      this.#keep(replay);
    }
    this.join(others);
    if (replay?.inUrl) {
      this.rooms.delete("*");
      if (!replay.left && data.recovered !== null) this.position = data.cursor;
    }
  }
  /** Its rooms without those that were left or refused. */
  still({ rooms }) {
    return rooms.filter((room) => this.rooms.has(room) || room === this.#own);
  }
  /** The gateway has us in these rooms. Those that an `unsubscribe` on its way names are left, unless it is refused. */
  join(rooms) {
    for (const room of rooms) {
      const leave = [...this.leaving].find((each) => each.rooms.includes(room));
      (leave?.left ?? this.rooms).add(room);
    }
  }
  lose(rooms) {
    for (const room of rooms) for (const set of [this.rooms, this.watched, this.stateful]) set.delete(room);
  }
  /** An event has come, of the replay `current` or live. Returns whether the page is to get it. */
  isNew(eventId) {
    const before = this.#seen.get(eventId);
    if (before === this.connection) this.duplicates += 1;
    this.#seen.set(eventId, this.connection);
    if (this.#seen.size > REMEMBERED) this.#seen.delete(this.#seen.keys().next().value);
    return !this.current?.again || before === void 0 || before === this.connection;
  }
  /** An event of `replay`, or live, was handled. While an older part is replayed, or our rooms are not joined yet, it
   *  must not carry our place past what is still owed. Returns whether it moved our place. */
  handled(eventId, replay) {
    const moves = this.resumed && (!replay || replay === this.base);
    if (moves) this.position = eventId;
    if (replay) {
      replay.how.since = eventId;
      replay.left -= 1;
      if (replay.left === 0) this.settle();
    }
    return moves;
  }
  /** Everything up to the frame's cursor was given to this connection, or given up. */
  mark({ type, data }) {
    if (!MARKS.has(type) || !data.cursor) return;
    this.settle();
    if (this.resumed) this.position = data.cursor;
  }
  /** All events of the replay that was answered last have come. */
  settle() {
    const replay = this.current;
    this.current = void 0;
    if (replay) this.end(replay);
  }
  end(replay) {
    replay.left = 0;
    this.#keep(replay);
  }
  /** Puts the replay of a command among those that are open, or takes it out. */
  #keep(replay) {
    if (replay !== this.base) {
      const others = this.open.filter((other) => other !== replay);
      this.open = replay.left ? [...others, replay] : others;
    }
    if (!replay.left) replay.done?.();
  }
  /** What the page loads anew, or gets again by joining anew, is not to be taken for known. */
  forget() {
    this.#seen.clear();
  }
};

// src/token.ts
var AHEAD = 15e3;
var AGAIN = 5e3;
var Token = class {
  /** `renew` shows a fresh one to the gateway, on the open connection. */
  constructor(source, renew, failed) {
    this.source = source;
    this.renew = renew;
    this.failed = failed;
  }
  source;
  renew;
  failed;
  #held;
  #until = Infinity;
  #refused = false;
  #timers = new Timers();
  #connection = 0;
  /** The one that is still good, or a fresh one. */
  async get() {
    if (typeof this.source !== "function") return this.source;
    if (!this.#held || now() >= this.#until) this.#held = await this.source();
    return this.#held;
  }
  /** It was refused for `reason`: whether a fresh one may be tried. One chance, until a connection is established. */
  mayRenew(reason) {
    if (typeof this.source === "string" || reason === "token_revoked" || this.#refused) return false;
    this.#refused = true;
    this.#held = void 0;
    return true;
  }
  accepted() {
    this.#refused = false;
  }
  /** It ends `at`, RFC 3339, by the clock that said `clock`: the gateway's, since the client's may be wrong. */
  expires(at, clock) {
    const left = Date.parse(at) - Date.parse(clock);
    if (!(left > 0)) return;
    this.#until = now() + left;
    this.#timers.set("renew", left - Math.min(AHEAD, left / 2), () => this.refresh());
  }
  /** Fetches a fresh one for the open connection, where there is a function to ask. */
  async refresh() {
    if (typeof this.source !== "function") return;
    const connection = this.#connection;
    this.#timers.clear();
    try {
      const token = await this.source();
      if (connection !== this.#connection) return;
      await this.renew(token);
      this.#held = token;
    } catch (error) {
      if (connection !== this.#connection) return;
      this.failed(error);
      if (!(error instanceof GatewayError)) this.#timers.set("renew", AGAIN, () => this.refresh());
    }
  }
  /** The connection has ended. */
  stop() {
    this.#connection += 1;
    this.#timers.clear();
  }
};

// src/session.ts
var STABLE_AFTER = 1e4;
var OPEN_DEADLINE = 1e4;
var ANSWER_DEADLINE = 1e4;
var FINAL = /* @__PURE__ */ new Set(["scope_missing", "too_many_rooms"]);
var Session = class {
  state = "closed";
  /** `data` of the last `connection.established`. */
  data;
  resume;
  random;
  #options;
  #tell;
  #socket;
  #commands;
  #token;
  #timers = new Timers();
  #attempt = 0;
  #frames = 0;
  #liveAt = Infinity;
  #slotAt = 0;
  // when `server.draining` told us to come back
  #notBefore = 0;
  // when an `error` told us to try again
  #hasty = true;
  constructor(options, listener) {
    this.#options = options;
    this.#tell = listener;
    this.random = options.random ?? Math.random;
    this.resume = new Resume(options.rooms, options.since);
    this.#token = new Token(options.token, (token) => this.command("auth", { token }), (error) => this.#tell.error(error));
    this.#commands = new Commands((text) => {
      if (this.#socket?.readyState !== 1) return false;
      this.#socket.send(text);
      return true;
    }, () => this.resume.current !== void 0);
  }
  open() {
    if (this.state !== "closed") return;
    this.#listen("addEventListener");
    this.#attempt = 0;
    this.#token.accepted();
    this.#dial();
  }
  close(reason = "closed by this page", code = 1e3) {
    if (this.state === "closed") return;
    this.#listen("removeEventListener");
    this.#detach();
    this.#become("closed", { reason, code });
  }
  /** Loses the socket, and comes back: after `delay` milliseconds, else at its slot or with backoff. */
  retry({ reason, code, delay }) {
    const at = now();
    if (at - this.#liveAt >= STABLE_AFTER) this.#attempt = 0;
    const slot = this.#slotAt > at ? this.#slotAt - at : void 0;
    const wait = delay ?? slot ?? Math.max(0, this.#notBefore - at) + backoff(this.#attempt, this.random);
    this.#attempt += 1;
    this.#hasty = delay === void 0 && slot === void 0 && this.#notBefore <= at && !UNHURRIED.has(code);
    this.#detach();
    this.#become("reconnecting", { reason, code, retryAt: Date.now() + wait });
    this.#timers.set("retry", wait, () => this.#dial());
  }
  // ---- commands
  command(type, fields = {}) {
    return this.#commands.ask(type, fields);
  }
  subscribe(rooms, how, done) {
    return this.#ask({ rooms: [...rooms], how: { ...how }, done });
  }
  unsubscribe(rooms) {
    const resume = this.resume;
    const leave = { rooms, left: new Set(rooms.filter((room) => resume.rooms.delete(room))) };
    resume.leaving.add(leave);
    return this.#commands.ask("unsubscribe", { rooms }, { leave }).finally(() => resume.leaving.delete(leave));
  }
  #ask(replay) {
    return this.#commands.ask("subscribe", { rooms: replay.rooms, ...replay.how }, { replay });
  }
  // ---- connecting
  async #dial() {
    const { resume } = this;
    const dialled = ++resume.connection;
    const { url, clientId, tokenIn } = this.#options;
    this.#timers.clear();
    this.#timers.set("open", OPEN_DEADLINE, () => this.retry({ reason: "no answer from the gateway" }));
    this.#become("connecting");
    let token;
    let ticket;
    try {
      token = await this.#token.get();
      if (token && tokenIn === "ticket" && dialled === resume.connection) ticket = await ticketFor(url, token);
    } catch (error) {
      if (dialled !== resume.connection) return;
      this.#tell.error(error);
      return this.#refusedTicket(error);
    }
    if (dialled !== resume.connection) return;
    if (!token && this.#options.token != null) return this.close("token_missing", 4401);
    const base = resume.begin(fitsUrl);
    const asked = base?.inUrl ? base.rooms.join() : void 0;
    const query = { client_id: clientId, since: resume.position, rooms: asked, state: base?.how.state ? "1" : void 0, ticket };
    try {
      const socket = this.#socket = dial(this.#options, query, token);
      socket.onmessage = ({ data }) => this.#receive(data);
      socket.onclose = ({ code, reason }) => this.#closed(code, String(reason));
      socket.onerror = () => {
      };
    } catch (error) {
      this.#tell.error(error);
      this.close(error.message);
    }
  }
  /** No token or ticket came: from a function or a gateway that fails, or for a token that is refused. */
  #refusedTicket({ code, retry_after }) {
    if (code?.startsWith("token_")) return this.#closed(4401, code);
    if (retry_after) this.#notBefore = now() + retry_after * 1e3;
    this.retry({ reason: "no token to be had" });
  }
  #closed(code, reason) {
    const [rule, words] = CLOSE_CODES[code] ?? ["backoff", `closed with ${code}`];
    const change = { code, reason: reason || words };
    if (rule === "never" || rule === "fresh_token" && !this.#token.mayRenew(reason)) return this.close(change.reason, code);
    this.retry(change);
  }
  /** Lets go of the socket at once: a dead network may take minutes to report its close. Frames that still come are
   *  not handled, so the cursor does not count them, so they will be replayed. */
  #detach() {
    this.resume.connection += 1;
    this.#timers.clear();
    this.#liveAt = Infinity;
    this.#slotAt = this.#notBefore = 0;
    this.resume.current = void 0;
    const socket = this.#socket;
    this.#socket = void 0;
    if (socket) {
      socket.onmessage = socket.onclose = null;
      socket.close();
    }
    this.#commands.fail();
    this.#token.stop();
  }
  #listen(how) {
    for (const type of ["online", "offline", "pageshow"]) globalThis[how]?.(type, this.#wake);
    globalThis.document?.[how]("visibilitychange", this.#wake);
  }
  #wake = ({ type }) => {
    if (globalThis.document?.visibilityState === "hidden") return;
    if (this.state === "live") this.#probe(5e3);
    else if (this.state === "reconnecting" && this.#hasty && type !== "offline") this.#dial();
  };
  // ---- receiving
  #receive(text) {
    this.#frames += 1;
    let frame;
    try {
      frame = JSON.parse(text);
    } catch {
      return this.retry({ reason: "unreadable frame" });
    }
    if (frame.event_id === void 0) this.#control(frame);
    else this.#event(frame);
  }
  #event(event) {
    const { resume } = this;
    const replay = resume.current;
    if (resume.isNew(event.event_id)) this.#tell.event(event);
    if (resume.handled(event.event_id, replay)) this.#tell.current(event.timestamp);
  }
  #control(frame) {
    const { resume } = this;
    const { type, data = {}, id } = frame;
    const pending = this.#commands.take(id);
    if (pending?.leave) resume.leaving.delete(pending.leave);
    if (type === "connection.established") this.#established(frame);
    else if (type === "subscribed") this.#subscribed(data, id === void 0 ? resume.unanswered : pending?.replay);
    else if (type === "unsubscribed") {
      resume.settle();
      resume.lose(data.rooms);
      resume.forget();
    } else if (type === "authenticated") {
      this.#lose(data.dropped ?? [], "token");
      this.#token.expires(data.expires_at, frame.timestamp);
    } else if (type === "subscription.revoked") this.#lose(data.rooms, data.reason);
    else if (type === "token.expiring") this.#token.refresh();
    else if (type === "server.draining") this.#slotAt = now() + data.reconnect_after_ms;
    else if (type === "stream.gap") this.#gap(data.reason);
    resume.mark(frame);
    this.#tell.frame(frame);
    if (data.as_of && data.cursor) this.#tell.current(data.as_of);
    if (type !== "error") return pending?.resolve(data);
    const error = new GatewayError(data);
    if (data.retry_after) this.#notBefore = now() + data.retry_after * 1e3;
    if (pending?.leave) resume.join([...pending.leave.left].filter((room) => !data.rooms?.includes(room)));
    if (pending) pending.reject(error);
    else if (id === void 0 && resume.unanswered && this.state === "live") this.#refused(resume.base, error);
    else this.#tell.error(error);
  }
  #established({ data, timestamp }) {
    const { resume } = this;
    this.#timers.clear("open");
    this.data = data;
    this.#token.accepted();
    this.#liveAt = now();
    resume.establish(data.user_id, data.cursor);
    this.#token.expires(data.expires_at, timestamp);
    if (resume.base && !resume.base.inUrl) this.#askAgain(resume.base);
    for (const replay of [...resume.open]) this.#askAgain(replay);
    if (resume.watched.size) this.#askAgain({ rooms: [...resume.watched], how: { presence: true } });
    this.#beat();
    this.#become("live");
  }
  #subscribed(data, replay) {
    this.resume.answered(data.rooms, data, replay);
    if (data.recovered === false) this.#gap("not_recovered", data.rooms);
    this.#tell.joined(data.rooms, data);
  }
  #gap(reason, rooms) {
    this.resume.forget();
    this.#tell.gap(reason, rooms);
  }
  #lose(rooms, reason) {
    this.resume.lose(rooms);
    if (rooms.length) this.#tell.lost(rooms, reason);
  }
  // ---- asking again
  #askAgain(replay) {
    Object.assign(replay, { again: true, left: void 0, rooms: this.resume.still(replay) });
    if (!replay.rooms.length) return this.resume.end(replay);
    this.#ask(replay).catch((error) => error.code === "disconnected" || this.#refused(replay, error));
  }
  /** All or nothing: one room that is no longer ours would cost us the others, so ask again without it. */
  #refused(replay, error) {
    const { resume } = this;
    const { code, rooms = [] } = error;
    this.#tell.error(error);
    this.#lose(rooms, code);
    if (code === "cursor_invalid" && replay.how.since) {
      replay.how.since = void 0;
      this.#gap(code, replay.rooms);
      if (replay === resume.base) resume.position = this.data.cursor;
    } else if (resume.still(replay).length === replay.rooms.length) {
      if (rooms.length || FINAL.has(code)) return resume.end(replay);
      return this.retry({ reason: `not subscribed: ${code}` });
    }
    if (replay.rooms.includes("*")) return this.retry({ reason: code, delay: 0 });
    replay.inUrl = false;
    this.#askAgain(replay);
  }
  // ---- heartbeat
  /** The page cannot see the protocol's own pings, and a dead network says nothing: ask, and go when nobody answers. */
  #beat() {
    this.#timers.set("beat", 2e4 + this.random() * 5e3, () => this.#probe(ANSWER_DEADLINE));
  }
  #probe(deadline) {
    const frames = this.#frames;
    this.command("ping").catch(() => {
    });
    this.#timers.set("beat", deadline, () => {
      if (this.#frames > frames) this.#beat();
      else this.retry({ reason: "the gateway stopped answering" });
    });
  }
  #become(state, detail = {}) {
    this.state = state;
    this.#tell.state({ state, attempt: this.#attempt, ...detail });
  }
};

// src/client.ts
var connect = (options) => new GatewayClient(options).open();
var GatewayClient = class {
  /** Events that `onEvent` was given. */
  received = 0;
  /** Losses that `onGap` was told. */
  gaps = 0;
  #options;
  #session;
  constructor(options) {
    this.#options = options;
    this.#session = new Session(this.#options, {
      state: (change) => this.#tell("onState", change),
      event: (event) => {
        this.received += 1;
        this.#tell("onEvent", event);
      },
      gap: (reason) => {
        this.gaps += 1;
        this.#tell("onGap", { reason });
      },
      joined: (rooms, { recovered, replayed = 0 }) => this.#tell("onSubscribed", { rooms, recovered, replayed }),
      lost: () => {
      },
      frame: (frame) => this.#tell("onFrame", frame),
      current: () => {
      },
      error: (error) => this.#tell("onError", error)
    });
  }
  get state() {
    return this.#session.state;
  }
  /** `data` of the last `connection.established`. */
  get session() {
    return this.#session.data;
  }
  /** Where a later connection goes on: everything up to here was handled. Save it to resume in another page. */
  get cursor() {
    return this.#session.resume.cursor;
  }
  /** The rooms that a reconnect will ask for. */
  get rooms() {
    return [...this.#session.resume.rooms];
  }
  /** Events that came twice on one connection: none, or the gateway has a fault. */
  get duplicates() {
    return this.#session.resume.duplicates;
  }
  /** Connects; after `close()`, connects again and resumes. */
  open() {
    this.#session.open();
    return this;
  }
  /** Ends the connection for good; `cursor` stays, so `open()` can resume. */
  close(reason) {
    this.#session.close(reason);
  }
  /** Loses the socket as a bad network would and comes back after `ms`: to watch a resume. */
  cut(ms = 0) {
    if (this.state !== "closed") this.#session.retry({ reason: "cut by hand", delay: ms });
  }
  /** All rooms or none. Once it is answered, a replay (`since`, `history`, `state`) survives a lost connection. */
  subscribe(rooms, how = {}) {
    return this.#session.subscribe(rooms, how);
  }
  /** All rooms or none. */
  unsubscribe(rooms) {
    return this.#session.unsubscribe(rooms);
  }
  /** Resolves once the event is in the log. */
  publish(event) {
    return this.#session.command("publish", { event });
  }
  presence(room) {
    return this.#session.command("presence", { room });
  }
  #tell(name, value) {
    try {
      this.#options[name]?.(value);
    } catch (error) {
      if (name === "onError") console.error(error);
      else this.#tell("onError", error);
    }
  }
};
export {
  CLOSE_CODES,
  GatewayClient,
  GatewayError,
  backoff,
  connect
};
