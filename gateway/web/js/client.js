/** Client of the gathering gateway, one file: copy it. Built from clients/js; see its README. */

// src/codes.ts
var CLOSE_CODES = {
  1012: "slot",
  4400: "never",
  4401: "fresh_token",
  4403: "never"
};
var NOT_URGENT = [1012, 1013, 4409, 4429];
var TEMPORARY = /disconnected|timeout|rate_limited|broker_unavailable|internal_error/;

// src/errors.ts
var GatewayError = class extends Error {
  name = "GatewayError";
  constructor(fields) {
    super(fields.message);
    Object.assign(this, fields);
  }
};
var disconnected = () => new GatewayError({ code: "disconnected", message: "the connection ended" });
var tooLarge = () => new GatewayError({ code: "message_too_large", message: "send a smaller message" });

// src/timing.ts
var MIN = 500;
var MAX = 2e4;
var backoff = (attempt, random = Math.random) => Math.min(MAX, MIN + random() * Math.min(MAX, MIN * 2 ** attempt));
var now = () => performance.now();
var LONGEST = 2 ** 31 - 1;
var Timer = class {
  #id;
  /** Runs `action` once, in `ms`. */
  set(ms, action) {
    this.stop();
    this.#id = setTimeout(action, Math.min(ms, LONGEST));
  }
  stop() {
    clearTimeout(this.#id);
  }
};

// src/publisher.ts
var RETRY_FOR = 6e4;
async function publish(draft, host, whenLive) {
  const event = { idempotency_key: crypto.getRandomValues(new Uint32Array(4)).join("-"), ...draft };
  const until = now() + RETRY_FOR;
  for (let attempt = 0, wait = 0; ; attempt += 1) {
    if (!await whenLive(until - now(), wait)) throw disconnected();
    try {
      return await host.command("publish", { event });
    } catch (error) {
      const { code, retry_after = 0 } = error;
      wait = code === "disconnected" ? 0 : retry_after * 1e3 + backoff(attempt, host.chance);
      if (!TEMPORARY.test(code) || now() + wait >= until) throw error;
    }
  }
}

// src/commands.ts
var REPLY_DEADLINE = 1e4;
var PACED = /^p[ur]/;
var Commands = class {
  #host;
  #last = 0;
  #pending = /* @__PURE__ */ new Map();
  #waiting = [];
  #paidUntil = 0;
  // by the gateway's rate, for what was sent
  #timer = new Timer();
  constructor(host) {
    this.#host = host;
  }
  ask(type, fields, done, failed) {
    const id = ++this.#last;
    const text = JSON.stringify({ type, id, ...fields });
    const { size } = new Blob([text]);
    const { message_bytes, commands_per_second } = this.#host.data?.limits ?? {};
    if (size > message_bytes) return failed(tooLarge());
    const send = () => {
      if (!this.#host.transmit(text)) return failed(disconnected());
      this.#paidUntil = Math.max(this.#paidUntil, now()) + 1e3 / commands_per_second;
      const timer = new Timer();
      this.#pending.set(id, [done, failed, size, timer]);
      const wait = () => timer.set(REPLY_DEADLINE, () => {
        if (this.#host.rooms.replaying) wait();
        else this.settle(id, void 0, new GatewayError({ code: "timeout", message: "no answer from the gateway" }));
      });
      wait();
    };
    if (!PACED.test(type)) send();
    else if (this.#waiting.push(send) === 1) this.#pace();
  }
  #pace() {
    const { commands_per_second, command_burst } = this.#host.data?.limits ?? {};
    while (this.#waiting.length) {
      const early = this.#paidUntil - now() - 500 * command_burst / commands_per_second;
      if (early > 0) return this.#timer.set(early, () => this.#pace());
      this.#waiting.shift()();
    }
  }
  /** Handles the reply to the command `id`. False where no such command is pending. */
  settle(id, data = {}, error) {
    const pending = this.#pending.get(id);
    if (!pending) return false;
    pending[3].stop();
    this.#pending.delete(id);
    if (error) pending[1](error);
    else pending[0](data);
    return true;
  }
  /** Fails all commands: the connection was closed with `code`. 1009 does not name the message that was too large, so it is
   *  reported for the largest one. */
  fail(code) {
    const pending = [...this.#pending];
    const largest = code === 1009 && Math.max(...pending.map(([, each]) => each[2]));
    for (const [id, each] of pending) this.settle(id, void 0, each[2] === largest ? tooLarge() : disconnected());
    for (const send of this.#waiting.splice(0)) send();
    this.#timer.stop();
    this.#paidUntil = 0;
  }
};

// src/dial.ts
function dial(options, query, token) {
  const Constructor = options.WebSocket ?? globalThis.WebSocket;
  if (!Constructor && options.fallback) return options.fallback(options, query, token);
  if (!Constructor) throw new Error("no WebSocket: use Node 22, or pass { WebSocket } from 'ws'");
  const url = new URL(options.url, globalThis.location?.href);
  url.protocol = url.protocol.replace("http", "ws");
  const inQuery = options.tokenIn === "query";
  const all = { ...query, client_id: options.clientId, token: inQuery ? token : void 0 };
  for (const [name, value] of Object.entries(all)) if (value) url.searchParams.set(name, value);
  return new Constructor(url.href, token && !inQuery ? ["gateway.v1", `gateway.bearer.${token}`] : []);
}

// src/freshness.ts
var FreshnessClock = class {
  /** The gateway's clock minus this page's, by the frame with the shortest latency. */
  #ahead = -Infinity;
  #asOf = -Infinity;
  #degraded = false;
  /** A frame of the gateway's own, which carries the time when it was sent. A new connection may be to a node with another
   *  clock; until its first frame the earlier clock counts. */
  frame(type, timestamp) {
    const first = type === "connection.established";
    this.#ahead = Math.max(first ? -Infinity : this.#ahead, Date.parse(timestamp) - now());
    if (first || type === "stream.restored") this.#degraded = false;
    else if (type === "stream.degraded") this.#degraded = true;
  }
  /** Everything up to `timestamp` has been received. An event may have its publisher's time, which may be ahead. */
  upTo(timestamp) {
    this.#asOf = Math.max(this.#asOf, Math.min(Date.parse(timestamp), now() + this.#ahead));
  }
  measure(live, staleAfter) {
    if (this.#asOf === -Infinity) return { asOf: void 0, age: void 0, stale: true };
    const age = Math.max(0, now() + this.#ahead - this.#asOf);
    return { asOf: new Date(this.#asOf), age, stale: !live || this.#degraded || age > staleAfter };
  }
};

// src/items.ts
var MAX_ITEMS = 1e4;
function roomsOf(event) {
  const rooms = [];
  for (const [name, id] of Object.entries(event)) {
    const kind = /^(?!event_)([a-z0-9]+)_id$/.exec(name)?.[1];
    if (kind && id != null) rooms.push(`${kind}:${id}`);
  }
  return rooms;
}
function applyEvent(items, event, room) {
  const id = [event.key, ...roomsOf(event).filter((name) => name !== room)].join(" ");
  const before = items.get(id);
  items.delete(id);
  if (event.op === "delete") return;
  if (event.op === "append") {
    const data = { ...before?.data };
    for (const [name, value] of Object.entries(event.data)) {
      const old = data[name];
      data[name] = typeof old === "string" && typeof value === "string" ? old + value : value;
    }
    event = { ...event, op: "set", data };
  }
  items.set(id, event);
  if (items.size > MAX_ITEMS) items.delete(items.keys().next().value);
}
function itemsOf(room, snapshot) {
  const items = /* @__PURE__ */ new Map();
  for (const event of snapshot?.items ?? []) applyEvent(items, event, room);
  return items;
}

// src/room.ts
var RELOAD_JITTER = 5e3;
var MAX_HELD = 1e4;
var Listener = class {
  state = "joining";
  options;
  #source;
  #held;
  #abort;
  #attempt = 0;
  #timer = new Timer();
  constructor(options, source) {
    this.options = options;
    this.#source = source;
  }
  /** The gateway sends the room's events from now on, and its items have come. */
  ready() {
    if (this.state === "live" || this.#abort) return;
    if (this.options.load) this.#load();
    else this.#become("live");
  }
  deliver(event) {
    if (!this.#held) {
      if (this.state === "live") this.notify("onEvent", event);
    } else if (this.#held.push(event) > MAX_HELD) {
      this.gap("overflow");
    }
  }
  gap(reason) {
    this.notify("onGap", { reason });
    if (this.state === "closed") return;
    if (this.options.load) this.reload(this.#source.chance() * RELOAD_JITTER);
    else if (this.options.state) this.#become("loading");
  }
  /** Loads the snapshot in `delay` milliseconds. What comes until then is in it, so it is dropped. */
  reload(delay) {
    this.#reset();
    this.#abort = new AbortController();
    this.#become("loading");
    this.#timer.set(delay, () => this.#load());
  }
  /** Ends a load; `ready` begins another. */
  stop() {
    if (!this.#abort) return;
    this.#reset();
    this.#become("joining");
  }
  close(reason, message) {
    if (this.state === "closed") return;
    this.#reset();
    this.#become("closed", reason, message);
  }
  notify(name, value) {
    try {
      this.options[name]?.(value);
    } catch (error) {
      this.#source.report(error);
    }
  }
  async #load() {
    const abort = this.#abort = new AbortController();
    this.#held = [];
    if (this.state !== "loading") this.#become("loading");
    try {
      const snapshot = await this.options.load(this.#source.position, abort.signal);
      if (abort.signal.aborted) return;
      this.#attempt = 0;
      this.notify("onLoad", snapshot);
      for (const event of this.#held ?? []) if (!abort.signal.aborted) this.notify("onEvent", event);
      if (abort.signal.aborted) return;
      this.#abort = this.#held = void 0;
      this.#become("live");
    } catch (error) {
      if (abort.signal.aborted) return;
      this.#source.report(error);
      this.reload(backoff(this.#attempt++, this.#source.chance));
    }
  }
  #reset() {
    this.#abort?.abort();
    this.#abort = this.#held = void 0;
    this.#timer.stop();
  }
  #become(state, reason, message) {
    this.state = state;
    this.notify("onState", { state, reason, message });
  }
};
var RoomRecord = class {
  constructor(name) {
    this.name = name;
  }
  name;
  listeners = /* @__PURE__ */ new Set();
  /** The replay that requests it on this connection, until the reply; for state, until its end. */
  asked;
  /** The connection has joined it. */
  on = false;
  /** A later connection resumes it together with the others. */
  kept = false;
  /** Its items have to be requested. */
  owed = false;
  items;
  /** The items of a replay under way; they replace `items` at its end. */
  next;
  /** The users in it, where presence is watched on this connection. */
  members;
  #copy;
  #notified = false;
  /** The items as they are now; the same object until they change. */
  get snapshot() {
    return this.#copy ??= new Map(this.items);
  }
  /** Notifies of changed items, once for all changes of one turn of the event loop. */
  changed() {
    this.#copy = void 0;
    if (this.#notified) return;
    this.#notified = true;
    queueMicrotask(() => {
      this.#notified = false;
      for (const each of this.listeners) if (each.state === "live") each.notify("onItems", this.snapshot);
    });
  }
  present() {
    for (const each of this.listeners) each.notify("onPresence", [...this.members]);
  }
  ready() {
    for (const each of [...this.listeners]) {
      if (each.state !== "live" && this.items) this.changed();
      each.ready();
    }
  }
};

// src/rooms.ts
var MAX_SEEN = 5e3;
var ROOMS_IN_URL = 2e3;
var MARKS = /* @__PURE__ */ new Set(["stream.mark", "stream.gap", "pong", "server.draining"]);
var Rooms = class {
  /** Every event of the rooms up to here was handled, except for owed state. */
  position;
  chance;
  duplicates = 0;
  // the gateway guarantees that there are none; counted so that a page can show it
  #host;
  #rooms = /* @__PURE__ */ new Map();
  #own = "";
  #head = "";
  #connection = 0;
  #live = false;
  /** The rooms that were kept, from `position` on, as this connection asks for them. */
  #base;
  #inUrl = false;
  /** The replay under way: the gateway gives one after another. */
  #replay;
  #scheduled = false;
  #seen = /* @__PURE__ */ new Map();
  // event_id: the connection that brought it
  constructor(host) {
    this.#host = host;
    this.chance = host.chance;
    this.position = host.options.since;
  }
  get names() {
    return [...this.#rooms.values()].filter(({ listeners }) => listeners.size).map(({ name }) => name);
  }
  /** A replay is under way, and replies may have to wait for it. */
  get replaying() {
    return this.#replay !== void 0;
  }
  report(error) {
    this.#host.notify("onError", error);
  }
  // ---- by the application
  open(name, options) {
    let room = this.#rooms.get(name);
    if (!room) this.#rooms.set(name, room = new RoomRecord(name));
    const listener = new Listener(options, this);
    room.listeners.add(listener);
    if (options.state && !room.items) {
      const { initial } = options;
      room.items = itemsOf(name, initial);
      if (this.#connection || !initial || initial.next || (this.position ??= initial.cursor) !== initial.cursor) this.#wantState(room);
    }
    this.#sync();
    return [room, listener];
  }
  close(room, listener) {
    listener.close();
    room.listeners.delete(listener);
    this.#sync();
  }
  /** Asks for the room's items again. */
  reload(room) {
    this.#wantState(room);
    this.#sync();
  }
  /** Asks for the newest events of the joined rooms from before they were joined. Not asked for again where the connection
   *  is lost before all have come. */
  history(count) {
    const rooms = [...this.#rooms.values()].filter(({ on }) => on).map(({ name }) => name);
    return new Promise((resolve, reject) => this.#host.ask("subscribe", { rooms, history: count }, (data) => {
      this.#answered({ rooms: [], how: {} }, data);
      resolve(data);
    }, reject));
  }
  #wantState(room) {
    room.next = void 0;
    room.owed = true;
    room.asked = void 0;
  }
  // ---- by the connection
  /** The query of a new connection. */
  begin() {
    this.#connection += 1;
    for (const { name, listeners } of this.#rooms.values()) if (!listeners.size) this.#rooms.delete(name);
    const rooms = [...this.#rooms.values()].filter(({ kept, owed }) => kept || !owed);
    const base = { rooms, how: { since: this.position } };
    if (this.position && rooms.some(({ items, owed }) => items && !owed)) base.how.state = true;
    for (const room of rooms) room.asked = base;
    this.#base = rooms.length || this.position ? base : void 0;
    const names = rooms.map(({ name }) => name).join();
    this.#inUrl = names.length <= ROOMS_IN_URL;
    return { since: this.position, state: base.how.state && "1", rooms: this.#inUrl ? names : void 0 };
  }
  established({ user_id, cursor }) {
    this.#live = true;
    this.#own = `user:${user_id}`;
    this.#head = cursor;
    this.position ??= cursor;
    if (this.#base && !this.#inUrl) this.#ask(this.#base);
    this.#sync();
  }
  /** The connection has ended: open requests are made again on the next. */
  lost() {
    this.#live = false;
    this.#replay = this.#base = void 0;
    for (const room of this.#rooms.values()) {
      room.on = false;
      room.asked = room.next = room.members = void 0;
    }
  }
  /** The client was closed: snapshots are loaded again with a later connection. */
  stop() {
    for (const room of this.#rooms.values()) for (const each of room.listeners) each.stop();
  }
  deliver(event) {
    const { event_id: id, key } = event;
    const replay = this.#replay;
    const before = this.#seen.get(id);
    this.#seen.set(id, this.#connection);
    if (this.#seen.size > MAX_SEEN) this.#seen.delete(this.#seen.keys().next().value);
    let ofState = false;
    for (const name of [...roomsOf(event), "tenant"]) {
      const room = this.#rooms.get(name);
      if (room?.next && key) {
        ofState = true;
        applyEvent(room.next, event, name);
      } else if (room && before === void 0) {
        if (room.items && key) {
          applyEvent(room.items, event, name);
          room.changed();
        }
        for (const each of [...room.listeners]) each.deliver(event);
      }
    }
    if (before === void 0) this.#host.notify("onEvent", event);
    else if (before === this.#connection && !ofState && !(key && replay?.rooms.length === 0)) this.duplicates += 1;
    if (this.#resumed && (!replay || replay === this.#base)) {
      this.position = id;
      this.#host.fresh.upTo(event.timestamp);
    }
    if (replay && (replay.left -= 1) === 0) this.#settle();
  }
  /** Any other frame. */
  frame({ type, data, id }) {
    if (type === "subscribed" && id === void 0 && this.#unanswered) this.#answered(this.#base, data);
    else if (type === "subscription.revoked") this.#drop(data.rooms, data.reason);
    else if (type === "authenticated") this.#drop(data.dropped ?? [], "token");
    else if (type === "stream.gap") this.#gap(data.reason, this.#rooms.values());
    else if (type === "presence.joined" || type === "presence.left") {
      const room = this.#rooms.get(data.room);
      if (room?.members?.[type === "presence.joined" ? "add" : "delete"](data.user_id)) room.present();
    }
    if (!MARKS.has(type) || !data.cursor) return;
    this.#settle();
    if (!this.#resumed) return;
    this.position = data.cursor;
    if (data.as_of) this.#host.fresh.upTo(data.as_of);
  }
  /** Handles an `error` that answers no command; returns whether it refuses the rooms of the URL. */
  refuse(error) {
    const refused = this.#live && this.#unanswered;
    if (refused) this.#refused(this.#base, error);
    return refused;
  }
  // ---- replays
  /** Whether the rooms are joined on this connection, so that its events follow `position`. */
  get #resumed() {
    return this.#base === void 0 || this.#base.left !== void 0;
  }
  /** Whether the reply to the URL, a frame without `id`, is still to come. */
  get #unanswered() {
    return this.#inUrl && !this.#resumed;
  }
  #ask(replay) {
    const rooms = replay.rooms.map(({ name }) => name);
    this.#command(
      "subscribe",
      { rooms, ...replay.how },
      (data) => this.#answered(replay, data),
      (error) => this.#refused(replay, error)
    );
  }
  #answered(replay, data) {
    this.#settle();
    replay.left = (data.replayed ?? 0) + (data.items ?? 0);
    if (replay === this.#base && this.#inUrl && !replay.left && data.recovered !== null) this.position = data.cursor;
    for (const room of replay.rooms) {
      room.on = true;
      if (room.asked !== replay) continue;
      if (room.owed && replay !== this.#base) room.next = /* @__PURE__ */ new Map();
      else room.asked = void 0;
    }
    this.#replay = replay;
    if (data.recovered === false) this.#gap("not_recovered", replay.rooms);
    for (const room of replay.rooms) this.#complete(room);
    if (!replay.left) this.#settle();
    this.#sync();
  }
  /** All of the replay that was answered last has come. */
  #settle() {
    const replay = this.#replay;
    this.#replay = void 0;
    for (const room of replay?.rooms ?? []) {
      if (room.asked !== replay) continue;
      room.owed = false;
      room.asked = void 0;
      room.items = room.next;
      room.next = void 0;
      room.changed();
      this.#complete(room);
    }
    if (replay) this.#sync();
  }
  /** Follows the room from here on, if nothing of its state is owed. At once: the next frame may be an event of it. */
  #complete(room) {
    if (room.owed) return;
    room.kept = true;
    room.ready();
  }
  /** Asks again without the refused rooms: the gateway joins all rooms of a command, or none. */
  #refused(replay, error) {
    const { code, message, rooms = [] } = error;
    const { how } = replay;
    const base = replay === this.#base;
    const before = replay.rooms.length;
    this.#inUrl &&= !base;
    this.report(error);
    this.#drop(rooms, code, message);
    replay.rooms = replay.rooms.filter((room) => this.#rooms.get(room.name) === room);
    if (code === "cursor_invalid" && how.since) {
      if (base) this.position = this.#head;
      how.since = void 0;
      this.#gap(code, replay.rooms);
    } else if (replay.rooms.length === before) {
      if (!rooms.length && TEMPORARY.test(code)) return this.#host.retry(`not subscribed: ${code}`);
      this.#drop(replay.rooms.splice(0).map(({ name }) => name), code, message);
    }
    if (!base) for (const room of replay.rooms) room.asked = void 0;
    else if (replay.rooms.length) return this.#ask(replay);
    else replay.left = 0;
    this.#sync();
  }
  #gap(reason, rooms) {
    this.#seen.clear();
    this.#host.notify("onGap", { reason });
    for (const room of [...rooms]) {
      if (room.items) this.#wantState(room);
      room.members = void 0;
      for (const each of [...room.listeners]) each.gap(reason);
    }
    this.#sync();
  }
  /** Closes rooms that were refused or revoked. */
  #drop(rooms, reason, message) {
    for (const name of rooms) {
      const room = this.#rooms.get(name);
      this.#rooms.delete(name);
      for (const each of room?.listeners ?? []) each.close(reason, message);
    }
  }
  // ---- joining and leaving
  /** Schedules a reconciliation of the joined rooms with the wanted ones: one for all changes of one task. */
  #sync() {
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      if (this.#live && this.#resumed) this.#reconcile();
    });
  }
  #reconcile() {
    const leave = [];
    const watch = [];
    const plain = { rooms: [], how: {} };
    const state = { rooms: [], how: { state: true } };
    for (const room of this.#rooms.values()) {
      const { name, on, owed, listeners } = room;
      if (!listeners.size) {
        if (room.asked) continue;
        this.#rooms.delete(name);
        if (on && name !== this.#own) leave.push(name);
      } else if (!room.asked && (owed || !on)) {
        room.asked = owed ? state : plain;
        room.asked.rooms.push(room);
      } else if (on && !owed) {
        room.ready();
        if (!room.members && [...listeners].some(({ options }) => options.onPresence)) watch.push(room);
      }
    }
    if (leave.length) this.#command("unsubscribe", { rooms: leave });
    for (const replay of [plain, state]) if (replay.rooms.length) this.#ask(replay);
    if (watch.length) this.#command("subscribe", { rooms: watch.map(({ name }) => name), presence: true });
    for (const room of watch) {
      room.members = /* @__PURE__ */ new Set();
      this.#command("presence", { room: room.name }, ({ users }) => {
        room.members = new Set(users.map((user) => user.user_id));
        room.present();
      });
    }
  }
  /** Where the connection ends first, neither is called. */
  #command(type, fields, done = () => {
  }, failed = (error) => this.report(error)) {
    this.#host.ask(type, fields, done, (error) => {
      if (error.code !== "disconnected") failed(error);
    });
  }
};

// src/token.ts
var RENEW_AHEAD = 15e3;
var RETRY_DELAY = 5e3;
var Token = class {
  #held;
  #until = Infinity;
  #refused = false;
  #timer = new Timer();
  #connection = 0;
  #host;
  constructor(host) {
    this.#host = host;
  }
  /** The current token, or a fresh one. */
  async get() {
    const { token } = this.#host.options;
    if (typeof token !== "function") return token;
    if (!this.#held || now() >= this.#until) this.#held = await token();
    return this.#held;
  }
  /** Whether a fresh token may be tried after a refusal for `reason`: once, until a connection is established. */
  mayRenew(reason) {
    if (typeof this.#host.options.token === "string" || reason === "token_revoked" || this.#refused) return false;
    this.#refused = true;
    this.#held = void 0;
    return true;
  }
  /** Records that it was accepted, and its expiry `at` (RFC 3339); `clock` is the gateway's time now, since the client's clock
   *  may be wrong. */
  expires(at, clock) {
    this.#refused = false;
    const left = Date.parse(at) - Date.parse(clock);
    if (!(left > 0)) return;
    this.#until = now() + left;
    this.#timer.set(left - Math.min(RENEW_AHEAD, left / 2), () => this.refresh());
  }
  /** Fetches a fresh token for the open connection, if there is a token function. */
  async refresh() {
    const { token: source } = this.#host.options;
    if (typeof source !== "function") return;
    const connection = this.#connection;
    this.#timer.stop();
    try {
      const token = await source();
      if (connection !== this.#connection) return;
      await this.#host.command("auth", { token });
      this.#held = token;
    } catch (error) {
      if (connection !== this.#connection) return;
      this.#host.notify("onError", error);
      if (!(error instanceof GatewayError)) this.#timer.set(RETRY_DELAY, () => this.refresh());
    }
  }
  /** The connection has ended. */
  stop() {
    this.#connection += 1;
    this.#timer.stop();
  }
};

// src/session.ts
var STABLE_AFTER = 1e4;
var OPEN_DEADLINE = 1e4;
var ANSWER_DEADLINE = 1e4;
var Session = class {
  state = "closed";
  /** `data` of the last `connection.established`. */
  data;
  rooms;
  options;
  notify;
  chance;
  fresh = new FreshnessClock();
  #socket;
  #commands = new Commands(this);
  #token = new Token(this);
  #timer = new Timer();
  // until the next attempt or ping, or the deadline of an answer
  #dialled = 0;
  // number of the attempt; what belongs to an older one is ignored
  #attempt = 0;
  #frames = 0;
  #liveAt = Infinity;
  #slotAt;
  // the slot of `server.draining`
  #notBefore = 0;
  // the end of an error's `retry_after`
  #urgent = true;
  // `online` and the like may shorten the wait for the next attempt
  #unreached = 0;
  // attempts in a row that no gateway answered; after an odd number of them the fallback is tried
  constructor(options, notify) {
    this.options = options;
    this.notify = notify;
    this.chance = options.random ?? Math.random;
    this.rooms = new Rooms(this);
  }
  /** Whether commands can be sent. A socket may end long before its close event comes. */
  get open() {
    return this.#socket?.readyState === 1;
  }
  transmit(text) {
    const { open } = this;
    if (open) this.#socket.send(text);
    return open;
  }
  start() {
    if (this.state !== "closed") return;
    this.#listen("addEventListener");
    this.#attempt = 0;
    this.#dial();
  }
  close(reason = "closed by hand", code = 1e3) {
    if (this.state === "closed") return;
    this.#listen("removeEventListener");
    this.#detach();
    this.rooms.stop();
    this.#become("closed", { reason, code });
  }
  /** Drops the socket and reconnects: after `delay` milliseconds, else in its slot or with backoff. */
  retry(reason, code, delay) {
    const at = now();
    if (at - this.#liveAt >= STABLE_AFTER) this.#attempt = 0;
    if (this.#liveAt === Infinity && (code ?? 1006) === 1006) this.#unreached += 1;
    const slot = this.#slotAt && Math.max(0, this.#slotAt - at);
    const wait = delay ?? slot ?? Math.max(0, this.#notBefore - at) + backoff(this.#attempt, this.chance);
    this.#attempt += 1;
    this.#urgent = delay === void 0 && this.#notBefore <= at && !NOT_URGENT.includes(code);
    this.#detach(code);
    this.#timer.set(wait, () => this.#dial());
    this.#become("reconnecting", { reason, code, retryAt: Date.now() + wait });
  }
  /** Calls `done` or `failed` synchronously with the reply. */
  ask(...command) {
    this.#commands.ask(...command);
  }
  command(type, fields = {}) {
    return new Promise((resolve, reject) => this.ask(type, fields, resolve, reject));
  }
  // ---- connecting
  async #dial() {
    const dialled = ++this.#dialled;
    this.#timer.set(OPEN_DEADLINE, () => this.retry("no answer from the gateway"));
    this.#become("connecting");
    try {
      const token = await this.#token.get();
      if (dialled !== this.#dialled) return;
      if (!token && this.options.token != null) return this.close("token_missing", 4401);
      try {
        const { fallback = dial } = this.options;
        const socket = this.#socket = (this.#unreached % 2 ? fallback : dial)(this.options, this.rooms.begin(), token);
        socket.onmessage = ({ data }) => this.#receive(data);
        socket.onclose = ({ code, reason }) => this.#closed(code, String(reason));
        socket.onerror = () => this.#closed(1006, "");
      } catch (error) {
        this.notify("onError", error);
        this.close(error.message);
      }
    } catch (error) {
      if (dialled !== this.#dialled) return;
      this.notify("onError", error);
      this.retry("no token");
    }
  }
  #closed(code, reason) {
    const rule = CLOSE_CODES[code];
    reason ||= `closed with ${code}`;
    if (rule === "never" || rule === "fresh_token" && !this.#token.mayRenew(reason)) this.close(reason, code);
    else this.retry(reason, code);
  }
  /** Drops the socket at once: a dead network may take minutes to report its close. Frames that still come are
   *  not handled, so the cursor does not count them, so they will be replayed. */
  #detach(code) {
    this.#dialled += 1;
    this.#timer.stop();
    this.#liveAt = Infinity;
    this.#slotAt = void 0;
    this.#notBefore = 0;
    const socket = this.#socket;
    this.#socket = void 0;
    if (socket) {
      socket.onmessage = socket.onclose = null;
      socket.onerror = () => {
      };
      socket.close();
    }
    this.#token.stop();
    this.rooms.lost();
    this.#commands.fail(code);
  }
  #listen(how) {
    for (const type of ["online", "offline", "pageshow", "visibilitychange"]) globalThis[how]?.(type, this.#wake);
  }
  #wake = ({ type }) => {
    if (globalThis.document?.visibilityState === "hidden") return;
    if (this.state === "live") this.#probe(5e3);
    else if (this.state === "reconnecting" && this.#urgent && type !== "offline") this.#dial();
  };
  // ---- receiving
  #receive(text) {
    this.#frames += 1;
    let frame;
    try {
      frame = JSON.parse(text);
    } catch {
      return this.retry("unreadable frame");
    }
    if (frame.event_id === void 0) this.#control(frame);
    else this.rooms.deliver(frame);
  }
  #control(frame) {
    const { type, data = {}, id, timestamp } = frame;
    if (type === "connection.established") this.#established(frame);
    else if (type === "authenticated") this.#token.expires(data.expires_at, timestamp);
    else if (type === "token.expiring") this.#token.refresh();
    else if (type === "server.draining") this.#slotAt = now() + data.reconnect_after_ms;
    this.fresh.frame(type, timestamp);
    this.rooms.frame(frame);
    this.notify("onFrame", frame);
    if (type !== "error") return void this.#commands.settle(id, data);
    const error = new GatewayError(data);
    if (error.retry_after) this.#notBefore = now() + error.retry_after * 1e3;
    if (!this.#commands.settle(id, data, error) && !this.rooms.refuse(error)) this.notify("onError", error);
  }
  #established(frame) {
    this.data = frame.data;
    this.#token.expires(frame.data.expires_at, frame.timestamp);
    this.#liveAt = now();
    this.#unreached %= 2;
    this.#beat();
    this.rooms.established(frame.data);
    this.#become("live");
  }
  // ---- heartbeat
  /** Sends a `ping`, and reconnects if no frame comes back: browsers hide the protocol's pings from the page, and a dead
   *  network does not close the socket. */
  #beat() {
    this.#timer.set(2e4 + this.chance() * 5e3, () => this.#probe(ANSWER_DEADLINE));
  }
  #probe(deadline) {
    const frames = this.#frames;
    this.command("ping").catch(() => {
    });
    this.#timer.set(deadline, () => {
      if (this.#frames > frames) this.#beat();
      else this.retry("no answer from the gateway");
    });
  }
  #become(state, detail = {}) {
    this.state = state;
    this.notify("onState", { state, attempt: this.#attempt, ...detail });
  }
};

// src/client.ts
var connect = (options) => new GatewayClient(options).open();
var GatewayClient = class {
  /** The last change of `state`. */
  change = { state: "closed", attempt: 0 };
  #options;
  #session;
  /** The options, and the observers. */
  #observers = /* @__PURE__ */ new Set();
  constructor(options) {
    this.#options = options;
    this.#observers.add(this.#options);
    this.#session = new Session(this.#options, (name, value) => this.#notify(name, value));
    for (const name of options.rooms ?? []) this.room(name);
  }
  get state() {
    return this.change.state;
  }
  /** `data` of the last `connection.established`. */
  get session() {
    return this.#session.data;
  }
  /** Everything up to here was handled. Save it to resume in another page. */
  get cursor() {
    return this.#session.rooms.position;
  }
  /** The rooms that are followed. */
  get rooms() {
    return this.#session.rooms.names;
  }
  /** Events that came twice on one connection: a fault of the gateway. They are counted and not delivered. */
  get duplicates() {
    return this.#session.rooms.duplicates;
  }
  get freshness() {
    return this.#session.fresh.measure(this.state === "live", this.#options.staleAfter ?? 4e4);
  }
  /** Connects; after `close()`, connects again and resumes. */
  open() {
    this.#session.start();
    return this;
  }
  /** Ends the connection for good; rooms and cursor stay, so `open()` can resume. */
  close(reason) {
    this.#session.close(reason);
  }
  /** Drops the socket, as a bad network would, and reconnects after `ms`: to watch a resume. */
  cut(ms = 0) {
    if (this.state !== "closed") this.#session.retry("cut by hand", void 0, ms);
  }
  /** Follows a room, on the one connection, until `close()` of what this returns. */
  room(name, options = {}) {
    const [record, listener] = this.#session.rooms.open(name, options);
    const room = {
      name,
      get state() {
        return listener.state;
      },
      get items() {
        return record.snapshot;
      },
      reload: () => {
        if (listener.options.load) listener.reload(0);
        if (listener.options.state) this.#session.rooms.reload(record);
      },
      close: () => this.#session.rooms.close(record, listener)
    };
    return room;
  }
  /** Resolves once the event is in the log: once, even if it had to be sent again. Rejects with `GatewayError` where it
   *  was refused, or within a minute where the gateway could not be reached. */
  publish(event) {
    return publish(event, this.#session, (ms, wait) => this.#whenLive(ms, wait));
  }
  /** Asks for the newest `count` events, at most 100, from before the rooms were joined. They come as events, though they
   *  are older than others that came. Resolves to how many will: `replayed`. */
  history(count) {
    return this.#session.rooms.history(count);
  }
  /** The users in a room now. */
  presence(room) {
    return this.#session.command("presence", { room });
  }
  /** Calls `observer` with each change of `state`; returns a function that ends it. */
  observe(observer) {
    const observing = { onState: observer };
    this.#observers.add(observing);
    return () => {
      this.#observers.delete(observing);
    };
  }
  #whenLive(ms, wait) {
    return new Promise((resolve) => {
      let due = !wait;
      const end = (live) => {
        stop();
        timers.forEach(clearTimeout);
        resolve(live);
      };
      const check = () => {
        if (this.state === "closed") end(false);
        else if (due && this.state === "live" && this.#session.open) end(true);
      };
      const stop = this.observe(check);
      const timers = [setTimeout(end, ms, false), setTimeout(() => {
        due = true;
        check();
      }, wait)];
      check();
    });
  }
  #notify(name, value) {
    if (name === "onState") this.change = value;
    for (const each of [...this.#observers]) {
      try {
        each[name]?.(value);
      } catch (error) {
        if (name === "onError") console.error(error);
        else this.#notify("onError", error);
      }
    }
  }
};

// src/hub.ts
var LEADER_ONLY = /* @__PURE__ */ new Set(["connection.established", "subscribed", "error", "token.expiring"]);
var Hub = class {
  #id;
  #send;
  #post;
  /** The rooms of each tab, the leader's among them. */
  #members = /* @__PURE__ */ new Map();
  constructor(id, own, send, post) {
    this.#id = id;
    this.#send = send;
    this.#post = post;
    this.#members.set(id, own);
  }
  /** A message of another tab. */
  receive(message) {
    if (!("from" in message)) return;
    const { from } = message;
    if ("join" in message) {
      if (!this.#members.has(from)) navigator.locks.request(from, () => this.#left(from));
      this.#members.set(from, new Set(message.join));
      this.#send({ type: "subscribe", id: `${from} join ${message.attempt}`, rooms: message.join });
    } else if (this.#members.has(from)) {
      const command = JSON.parse(message.text);
      this.command(from, { ...command, id: `${from} ${command.id}` });
    }
  }
  /** Unsubscribes from the rooms that only this tab was in. */
  #left(from) {
    const rooms = [...this.#members.get(from) ?? []];
    if (rooms.length) this.command(from, { type: "unsubscribe", id: " left", rooms });
    this.#members.delete(from);
  }
  /** Sends a tab's command. The connection leaves a room only when no tab is in it any more. */
  command(from, command) {
    const { type, id } = command;
    let { rooms = [] } = command;
    const wanted = this.#members.get(from);
    if (type === "subscribe") for (const room of rooms) wanted.add(room);
    if (type === "unsubscribe") {
      for (const room of rooms) wanted.delete(room);
      rooms = rooms.filter((room) => ![...this.#members.values()].some((each) => each.has(room)));
      if (!rooms.length) return this.#send({ type: "ping", id });
      command = { ...command, rooms };
    }
    this.#send(command);
  }
  /** Posts a frame of the connection to the tabs that it is for. */
  frame(frame, text) {
    if ("event_id" in frame || frame.id === void 0 && !LEADER_ONLY.has(frame.type)) this.#post({ text });
    const { dropped: rooms } = frame.data;
    if (frame.type !== "authenticated" || !rooms?.length) return;
    const { timestamp } = frame;
    const revoked = { type: "subscription.revoked", data: { rooms, reason: "token" }, timestamp };
    this.#post({ text: JSON.stringify(revoked) });
  }
  /** Posts a reply to the tab that sent the command, or for which the hub sent it. */
  reply(frame, to, what, attempt) {
    if (what === "join" && frame.type === "subscribed") this.#send({ type: "ping", id: `${to} place ${attempt}` });
    else if (attempt) this.#post({ to, attempt: Number(attempt), cursor: frame.data.cursor });
    else this.#post({ to, text: JSON.stringify({ ...frame, id: Number(what) }) });
  }
  /** Ends the leadership of this tab. */
  resign() {
    for (const from of [...this.#members.keys()]) if (from !== this.#id) this.#left(from);
  }
};

// src/share.ts
var RETRY_DELAY2 = 1e3;
var ANSWER_DEADLINE2 = 5e3;
var MAX_UNANSWERED = 2;
var share = (inner = globalThis.WebSocket) => inner && class extends SharedSocket {
  constructor(url, protocols = []) {
    super(new inner(url, protocols), url);
  }
};
var SharedSocket = class {
  onmessage = null;
  onclose = null;
  onerror = null;
  /** `own`: a connection of its own, not shared. `joining`: the same, with a leader asked. */
  #role = "own";
  #url;
  #own;
  #rooms = /* @__PURE__ */ new Set();
  /** The client's commands without a reply. */
  #asked = /* @__PURE__ */ new Map();
  #id = "";
  #name = "";
  #channel;
  #hub;
  #release;
  // of the lock, while leading
  #leader;
  #kept;
  // frames that the leader posted while this tab was joining
  #brought = /* @__PURE__ */ new Set();
  // events of our own connection while joining
  #attempts = 0;
  #unanswered = 0;
  #timer;
  #ended = new AbortController();
  #clock = "";
  // the gateway's, as of the last frame
  constructor(own, url) {
    this.#url = new URL(url);
    this.#own = own;
    own.onmessage = ({ data }) => this.#receive(data);
    own.onclose = (event) => {
      this.close();
      this.onclose?.(event);
    };
    own.onerror = (event) => this.onerror?.(event);
  }
  get readyState() {
    return this.#own?.readyState ?? (this.#role === "following" ? 1 : 3);
  }
  send(text) {
    const command = JSON.parse(text);
    const { type, id, rooms, since, state, history } = command;
    const replay = since ?? state ?? history;
    this.#asked.set(id, command);
    if (type === "unsubscribe") for (const room of rooms) this.#rooms.delete(room);
    if (this.#role === "following") {
      if (replay) queueMicrotask(() => this.#end(true));
      else this.#post({ from: this.#id, text });
      return;
    }
    if (rooms && this.#role === "joining") this.#retreat();
    if (replay && this.#role === "leading") this.#resign();
    if (this.#role === "leading") this.#hub.command(this.#id, command);
    else this.#own.send(text);
  }
  close() {
    if (this.#role === "closed") return;
    this.#role = "closed";
    this.#ended.abort();
    this.#release?.();
    this.#channel?.close();
    clearTimeout(this.#timer);
    this.#own?.close();
  }
  // ---- our own connection
  #receive(text) {
    const frame = JSON.parse(text);
    if ("event_id" in frame) this.#note(frame);
    else if (typeof frame.id === "string") return this.#reply(frame, ...frame.id.split(" "));
    else if (frame.type === "connection.established") this.#established(frame.data);
    this.#hub?.frame(frame, text);
    this.#hand(frame, text);
  }
  #established({ tenant, user_id, rooms, subscribed }) {
    for (const room of subscribed) this.#rooms.add(room);
    if (!globalThis.navigator?.locks || !globalThis.BroadcastChannel) return;
    const { origin, pathname } = this.#url;
    this.#name = ["gathering", origin + pathname, tenant, user_id, ...[...rooms].sort()].join(" ");
    this.#id = crypto.randomUUID();
    this.#later();
  }
  /** An event that comes while joining. A keyed one may stand for several that the leader posts one by one. */
  #note({ key, event_id }) {
    if (this.#role !== "joining") return;
    if (key) this.#retreat();
    else this.#brought.add(event_id);
  }
  /** The reply to a command of the socket itself, or of another tab. */
  #reply(frame, to, what, attempt) {
    const { type, data } = frame;
    if (to) return this.#hub?.reply(frame, to, what, attempt);
    if (what === "place" && this.#role === "own") {
      if (data.cursor && !this.#asked.size) this.#share();
      else this.#later();
    }
    if (this.#role !== "joining" || Number(attempt) !== this.#attempts) return;
    if (type === "subscribed") this.#command({ type: "ping", id: ` joined ${attempt}` });
    else if (data.cursor) this.#follow();
    else this.#retreat();
  }
  /** Hands a frame to the client: an event if it is of the client's rooms. */
  #hand(frame, text) {
    if ("event_id" in frame) {
      if (![...roomsOf(frame), "tenant"].some((room) => this.#rooms.has(room))) return;
    } else {
      const { type, id, data } = frame;
      const { rooms } = this.#asked.get(id) ?? data;
      this.#clock = frame.timestamp;
      this.#asked.delete(id);
      if (type === "subscribed") for (const room of rooms) this.#rooms.add(room);
      for (const room of type === "subscription.revoked" ? rooms : data.dropped ?? []) this.#rooms.delete(room);
    }
    this.onmessage?.({ data: text });
  }
  #command(command) {
    this.#own.send(JSON.stringify(command));
  }
  // ---- sharing
  /** Asks for the place of our own connection: it has one where nothing is owed to it. */
  #later() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (this.#role !== "own") return;
      if (this.#asked.size) this.#later();
      else this.#command({ type: "ping", id: " place" });
    }, RETRY_DELAY2 * (this.#attempts += 1));
  }
  #share() {
    this.#role = "joining";
    if (!this.#channel) {
      this.#channel = new BroadcastChannel(this.#name);
      this.#channel.onmessage = ({ data }) => this.#message(data);
      const { signal } = this.#ended;
      navigator.locks.request(this.#id, { signal }, () => new Promise((end) => {
        signal.onabort = end;
      })).catch(() => {
      });
    }
    this.#lock({ [this.#unanswered < MAX_UNANSWERED ? "ifAvailable" : "steal"]: true });
  }
  #lock(options) {
    navigator.locks.request(this.#name, options, (lock) => {
      if (this.#role === "joining") return lock ? this.#lead() : this.#join();
    }).catch(() => {
      if (this.#role === "leading") this.#end();
    });
  }
  #lead() {
    this.#role = "leading";
    this.#attempts = 0;
    this.#hub = new Hub(this.#id, this.#rooms, (command) => this.#command(command), (message) => this.#post({ by: this.#id, ...message }));
    return new Promise((release) => {
      this.#release = release;
    });
  }
  #resign() {
    this.#hub.resign();
    this.#hub = void 0;
    this.#role = "own";
    this.#release();
    this.#later();
  }
  #join() {
    this.#brought.clear();
    this.#kept = void 0;
    this.#post({ from: this.#id, join: [...this.#rooms], attempt: this.#attempts });
    this.#timer = setTimeout(() => {
      this.#unanswered += 1;
      this.#retreat();
    }, ANSWER_DEADLINE2);
  }
  /** Back to a connection of its own, which it has still. */
  #retreat() {
    this.#role = "own";
    this.#later();
  }
  #follow() {
    if (this.#asked.size) return this.#retreat();
    clearTimeout(this.#timer);
    const own = this.#own;
    own.onmessage = own.onclose = null;
    own.close();
    this.#own = void 0;
    this.#role = "following";
    for (const text of this.#kept) this.#deliver(text);
    navigator.locks.request(this.#name, { signal: this.#ended.signal }, () => this.#end()).catch(() => {
    });
  }
  /** The client comes back with a connection of its own: `now`, else with backoff. */
  #end(now2 = false) {
    if (this.#role === "closed") return;
    const timestamp = this.#clock;
    if (now2) this.onmessage?.({ data: JSON.stringify({ type: "server.draining", data: { reconnect_after_ms: 0 }, timestamp }) });
    this.close();
    this.onclose?.({ code: 1012, reason: "the shared connection ended" });
  }
  // ---- the channel
  #post(message) {
    this.#channel.postMessage(message);
  }
  #message(message) {
    if (this.#role === "leading") return this.#hub.receive(message);
    if (!("by" in message) || (message.to ?? this.#id) !== this.#id) return;
    if ("attempt" in message) return this.#welcome(message.by, message.attempt, message.cursor);
    if (message.by !== this.#leader || !("text" in message)) return;
    if (this.#role === "joining") this.#kept?.push(message.text);
    else if (this.#role === "following") this.#deliver(message.text);
  }
  #welcome(by, attempt, since) {
    if (this.#role !== "joining" || attempt !== this.#attempts) return;
    this.#unanswered = 0;
    if (!since) return this.#retreat();
    this.#leader = by;
    this.#kept = [];
    this.#command({ type: "subscribe", id: ` join ${attempt}`, rooms: [...this.#rooms], since });
  }
  /** A frame of the leader's connection. */
  #deliver(text) {
    const frame = JSON.parse(text);
    if ("event_id" in frame && this.#brought.delete(frame.event_id)) return;
    if (frame.type === "error" && frame.data.code === "too_many_rooms") this.#end();
    else this.#hand(frame, text);
  }
};

// src/sse.ts
var CLOSE_BY_STATUS = { 403: 4403, 422: 4400, 429: 1013, 503: 1013 };
var SILENCE_TIMEOUT = 2e4;
var eventStream = (options, query, token) => new EventStreamSocket(options, query, token);
var EventStreamSocket = class {
  readyState = 0;
  onmessage = null;
  onclose = null;
  onerror = null;
  #options;
  #token;
  #rooms;
  /** The id of the last block that was delivered. */
  #cursor;
  #stream;
  /** The ids of items that came as state, which the stream behind it may bring again. */
  #known = /* @__PURE__ */ new Set();
  #readAt = 0;
  #draining;
  // the stream's `server.draining`
  #clock = (/* @__PURE__ */ new Date(0)).toISOString();
  // the gateway's, as of its last frame
  /** Commands are carried out one after another. */
  #queue;
  constructor(options, query, token) {
    this.#options = options;
    this.#token = token;
    this.#rooms = new Set(query.rooms?.split(",").filter(Boolean));
    this.#queue = this.#begin(query).catch((cause) => this.#fail(cause));
  }
  send(text) {
    const command = JSON.parse(text);
    if (command.type === "ping") {
      if (performance.now() - this.#readAt < SILENCE_TIMEOUT) this.#reply(command, "pong", {});
    } else if (command.type === "publish" || command.type === "presence") {
      this.#run(command);
    } else {
      this.#queue = this.#queue.then(() => this.#run(command));
    }
  }
  close() {
    this.readyState = 3;
    this.#stream?.abort();
  }
  // ---- the stream
  async #begin(query) {
    try {
      await this.#open(query, (frame) => this.#emit(frame));
    } catch (cause) {
      const refusal = cause;
      if (!refusal.problem?.rooms) throw cause;
      this.#rooms.clear();
      await this.#open({ ...query, rooms: void 0 }, (frame) => {
        this.#emit(frame);
        if (frame.type === "connection.established") this.#emit({ type: "error", data: refusal.problem, timestamp: this.#clock });
      });
    }
  }
  /** Opens a stream in place of the one before. Its first frames, up to `subscribed` where there is one, go to `first`,
   *  the rest is delivered. Resolves when it has begun. */
  async #open(query, first) {
    this.#stream?.abort();
    this.#draining = void 0;
    const stream = this.#stream = new AbortController();
    const reply = await this.#fetch("events/stream", { signal: stream.signal }, { ...query, client_id: this.#options.clientId });
    this.readyState = 1;
    const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
    const awaited = query.rooms || query.since ? "subscribed" : "connection.established";
    await new Promise((begun, failed) => {
      let beginning = true;
      const deliver = (frame) => {
        if (!beginning) return this.#emit(frame);
        first(frame);
        if (frame.type !== awaited) return;
        beginning = false;
        begun();
      };
      this.#read(reader, stream.signal, deliver).catch(() => {
      }).then(() => {
        failed(new Error("the stream ended"));
        if (beginning || stream.signal.aborted) return;
        if (this.#draining) this.#emit({ ...this.#draining, data: { ...this.#draining.data, cursor: void 0 } });
        this.#end(this.#draining ? 1012 : 1006);
      });
    });
  }
  async #read(reader, signal, deliver) {
    let text = "";
    for (; ; ) {
      const { value, done } = await reader.read();
      if (done) return;
      this.#readAt = performance.now();
      text += value;
      for (let end; (end = text.indexOf("\n\n")) >= 0; text = text.slice(end + 2)) {
        if (signal.aborted) return;
        this.#block(text.slice(0, end), deliver);
      }
    }
  }
  #block(block, deliver) {
    const fields = new Map(block.split("\n").map((line) => line.split(/: ?(.*)/s)));
    const id = fields.get("id");
    const data = fields.get("data");
    const frame = data ? JSON.parse(data) : id && { type: "stream.mark", data: { cursor: id }, timestamp: this.#clock };
    if (!frame) return;
    if (frame.event_id === void 0) this.#clock = frame.timestamp;
    if (frame.type === "server.draining") this.#draining = frame;
    if (!this.#known.delete(frame.event_id)) deliver(frame);
    if (id) this.#cursor = id;
  }
  // ---- commands
  async #run(command) {
    const { type, rooms, id } = command;
    try {
      if (type === "publish") {
        const reply = await this.#fetch("events", {
          method: "POST",
          headers: { "Content-Type": "application/json" },
          body: JSON.stringify(command.event)
        });
        this.#reply(command, "published", await reply.json());
      } else if (type === "presence") {
        const reply = await this.#fetch(`rooms/${encodeURIComponent(command.room)}/presence`);
        this.#reply(command, "presence", await reply.json());
      } else if (type === "auth") {
        this.#token = command.token;
        await this.#change(this.#rooms);
        this.#reply(command, "authenticated", {});
      } else if (type === "unsubscribe") {
        await this.#change(new Set([...this.#rooms].filter((room) => !rooms.includes(room))));
        this.#reply(command, "unsubscribed", { rooms });
      } else if (command.presence) {
        this.#reply(command, "subscribed", { rooms, recovered: null, replayed: 0 });
      } else if (command.history) {
        this.#reply(command, "error", { code: "unknown_type", message: "history takes a WebSocket" });
      } else {
        await this.#subscribe(command);
      }
    } catch (cause) {
      const { problem } = cause;
      if (problem) this.#emit({ type: "error", id, data: problem, timestamp: this.#clock });
      else this.#fail(cause);
    }
  }
  async #subscribe(command) {
    const { rooms, since, state } = command;
    if (state) this.#stream?.abort();
    const items = state && !since ? await this.#items(rooms) : [];
    await this.#change(/* @__PURE__ */ new Set([...this.#rooms, ...rooms]), since, (data) => {
      const { recovered, replayed } = since ? data : { recovered: null, replayed: 0 };
      this.#reply(command, "subscribed", { ...data, rooms, recovered, replayed, items: since ? data.items : items.length });
      for (const item of items) this.#emit(item);
      this.#known = new Set(items.map((item) => item.event_id));
    });
  }
  /** The newest values of the items of these rooms. They are older than what a stream from our cursor on will bring. */
  async #items(rooms) {
    const items = [];
    for (const room of rooms) {
      let after;
      do {
        const reply = await this.#fetch(`rooms/${encodeURIComponent(room)}/state`, {}, { after });
        const page = await reply.json();
        this.#cursor ??= page.cursor;
        items.push(...page.items);
        after = page.next;
      } while (after);
    }
    return items;
  }
  /** Goes on with other rooms, at our cursor or from `since`. What a refusal names stays out, and the old rooms stay. */
  async #change(rooms, since, joined) {
    const from = since ?? this.#cursor;
    const begin = ({ type, data }) => {
      if (type !== "subscribed") return;
      if (data.recovered === false && !since) this.#lost(data);
      joined?.(data);
    };
    try {
      await this.#open({ rooms: [...rooms].join(), since: from, state: from && "1" }, begin);
      this.#rooms = rooms;
    } catch (cause) {
      if (!cause.problem || rooms === this.#rooms) throw cause;
      await this.#change(this.#rooms);
      throw cause;
    }
  }
  #lost(data) {
    this.#emit({ type: "stream.gap", data: { reason: "not_recovered", cursor: data.cursor }, timestamp: this.#clock });
  }
  // ---- HTTP
  /** Throws a `Refusal` for an answer that is not 200. */
  async #fetch(path, init = {}, query = {}) {
    if (this.readyState === 3) throw new Error("closed");
    const url = new URL(`../${path}`, new URL(this.#options.url, globalThis.location?.href));
    url.protocol = url.protocol.replace("ws", "http");
    url.search = "";
    for (const [name, value] of Object.entries(query)) if (value) url.searchParams.set(name, value);
    const headers = new Headers(init.headers);
    if (this.#token) headers.set("Authorization", `Bearer ${this.#token}`);
    const reply = await fetch(url, { ...init, headers });
    if (reply.status === 204) throw new Refusal({ code: "token_revoked", message: "revoked" });
    if (reply.ok) return reply;
    const { code, detail, title, rooms } = await reply.json();
    const wait = Number(reply.headers.get("Retry-After")) || void 0;
    throw new Refusal({ code, message: detail ?? title, rooms, retry_after: wait }, reply.status);
  }
  /** The stream cannot begin or go on. */
  #fail(cause) {
    const { problem, status } = cause;
    if (problem?.code.startsWith("token_")) return this.#end(4401, problem.code);
    if (problem) this.#emit({ type: "error", data: problem, timestamp: this.#clock });
    this.#end(CLOSE_BY_STATUS[status] ?? 1006, problem?.code);
  }
  #end(code, reason = "") {
    this.close();
    this.onclose?.({ code, reason });
  }
  #reply({ id }, type, data) {
    this.#emit({ type, id, data, timestamp: this.#clock });
  }
  #emit(frame) {
    if (this.readyState < 2) this.onmessage?.({ data: JSON.stringify(frame) });
  }
};
var Refusal = class extends Error {
  constructor(problem, status) {
    super(problem.message);
    this.problem = problem;
    this.status = status;
  }
  problem;
  status;
};

// src/tracing.ts
function linksOf({ traceparent }) {
  const [, traceId, spanId, flags] = traceparent?.split("-") ?? [];
  if (!traceId || !spanId || !flags) return [];
  return [{ context: { traceId, spanId, traceFlags: parseInt(flags, 16), isRemote: true } }];
}
export {
  CLOSE_CODES,
  GatewayClient,
  GatewayError,
  applyEvent,
  backoff,
  connect,
  eventStream,
  linksOf,
  share
};
