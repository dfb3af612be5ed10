/** The rooms of a client: which are joined, the position up to which it has everything, and the replays that are owed.
 *
 *  There is one cursor, `position`. It is the last event that was handled, or the last mark. It stands still while the
 *  state of a room is replayed: an event's id would carry it past what is still owed. */

import { TEMPORARY } from './codes.js';
import type { GatewayError } from './errors.js';
import { applyEvent, itemsOf, roomsOf } from './items.js';
import { Listener, RoomRecord, type Source } from './room.js';
import type { Notify } from './notify.js';
import type { Frame, GatewayEvent, RoomOptions } from './types.js';

const MAX_SEEN = 5_000; // event_ids
const ROOMS_IN_URL = 2_000; // characters; a request line stays under the usual 8 KiB
const MARKS = new Set(['stream.mark', 'stream.gap', 'pong', 'server.draining']); // with a `cursor` up to which everything was sent

/** A part of the log that was asked for. */
interface Replay {
  rooms: RoomRecord[];
  how: { since?: string; state?: true };
  /** Events to come; undefined while it is not answered. */
  left?: number;
}

/** The connection, as the rooms use it. */
export interface Host {
  /** Calls `done` or `failed` synchronously with the reply. */
  ask(type: string, fields: object, done: (data: Frame['data']) => void, failed: (error: GatewayError) => void): void;
  /** Drop this connection and reconnect with backoff. */
  retry(reason: string): void;
  readonly options: { readonly since?: string };
  readonly notify: Notify;
  readonly chance: () => number;
  readonly fresh: { upTo(asOf: string): void };
}

export class Rooms implements Source {
  /** Every event of the rooms up to here was handled, except for owed state. */
  position: string | undefined;
  readonly chance: () => number;
  duplicates = 0; // the gateway guarantees that there are none; counted so that a page can show it
  #host: Host;
  #rooms = new Map<string, RoomRecord>();
  #own = '';
  #head = '';
  #connection = 0;
  #live = false;
  /** The rooms that were kept, from `position` on, as this connection asks for them. */
  #base: Replay | undefined;
  #inUrl = false;
  /** The replay under way: the gateway gives one after another. */
  #replay: Replay | undefined;
  #scheduled = false;
  #seen = new Map<string, number>(); // event_id: the connection that brought it

  constructor(host: Host) {
    this.#host = host;
    this.chance = host.chance;
    this.position = host.options.since;
  }

  get names(): string[] { return [...this.#rooms.values()].filter(({ listeners }) => listeners.size).map(({ name }) => name); }

  /** A replay is under way, and replies may have to wait for it. */
  get replaying(): boolean { return this.#replay !== undefined; }

  report(error: unknown): void { this.#host.notify('onError', error); }

  // ---- by the application

  open(name: string, options: RoomOptions): [RoomRecord, Listener] {
    let room = this.#rooms.get(name);
    if (!room) this.#rooms.set(name, room = new RoomRecord(name));
    const listener = new Listener(options, this);
    room.listeners.add(listener);
    if (options.state && !room.items) {
      const { initial } = options;
      room.items = itemsOf(name, initial);
      // The first connection resumes from there, if that is all of the state. A later one cannot: the gateway does not
      // repeat events that it has sent for another room.
      if (this.#connection || !initial || initial.next || (this.position ??= initial.cursor) !== initial.cursor) this.#wantState(room);
    }
    this.#sync();
    return [room, listener];
  }

  close(room: RoomRecord, listener: Listener): void {
    listener.close();
    room.listeners.delete(listener);
    this.#sync();
  }

  /** Asks for the room's items again. */
  reload(room: RoomRecord): void {
    this.#wantState(room);
    this.#sync();
  }

  /** Asks for the newest events of the joined rooms from before they were joined. Not asked for again where the connection
   *  is lost before all have come. */
  history(count: number): Promise<Frame['data']> {
    const rooms = [...this.#rooms.values()].filter(({ on }) => on).map(({ name }) => name);
    return new Promise((resolve, reject) => this.#host.ask('subscribe', { rooms, history: count }, (data) => {
      this.#answered({ rooms: [], how: {} }, data);
      resolve(data);
    }, reject));
  }

  #wantState(room: RoomRecord): void {
    room.next = undefined;
    room.owed = true;
    room.asked = undefined;
  }

  // ---- by the connection

  /** The query of a new connection. */
  begin(): { rooms?: string; since?: string; state?: string } {
    this.#connection += 1;
    for (const { name, listeners } of this.#rooms.values()) if (!listeners.size) this.#rooms.delete(name);
    const rooms = [...this.#rooms.values()].filter(({ kept, owed }) => kept || !owed);
    const base: Replay = { rooms, how: { since: this.position } };
    if (this.position && rooms.some(({ items, owed }) => items && !owed)) base.how.state = true;
    for (const room of rooms) room.asked = base;
    this.#base = rooms.length || this.position ? base : undefined;
    const names = rooms.map(({ name }) => name).join();
    this.#inUrl = names.length <= ROOMS_IN_URL;
    // `since` resumes the user's own room too, which needs no subscribing.
    return { since: this.position, state: base.how.state && '1', rooms: this.#inUrl ? names : undefined };
  }

  established({ user_id, cursor }: Frame['data']): void {
    this.#live = true;
    this.#own = `user:${user_id}`;
    this.#head = cursor;
    this.position ??= cursor; // a position to resume from is older: its replay is still to come
    if (this.#base && !this.#inUrl) this.#ask(this.#base);
    this.#sync();
  }

  /** The connection has ended: open requests are made again on the next. */
  lost(): void {
    this.#live = false;
    this.#replay = this.#base = undefined;
    for (const room of this.#rooms.values()) {
      room.on = false;
      room.asked = room.next = room.members = undefined;
    }
  }

  /** The client was closed: snapshots are loaded again with a later connection. */
  stop(): void { for (const room of this.#rooms.values()) for (const each of room.listeners) each.stop(); }

  deliver(event: GatewayEvent): void {
    const { event_id: id, key } = event;
    const replay = this.#replay;
    const before = this.#seen.get(id);
    this.#seen.set(id, this.#connection);
    if (this.#seen.size > MAX_SEEN) this.#seen.delete(this.#seen.keys().next().value!);
    let ofState = false;
    for (const name of [...roomsOf(event), 'tenant']) {
      const room = this.#rooms.get(name);
      if (room?.next && key) { // the newest value of an item, whether its pieces were seen or not
        ofState = true;
        applyEvent(room.next, event, name);
      } else if (room && before === undefined) {
        if (room.items && key) {
          applyEvent(room.items, event, name);
          room.changed();
        }
        for (const each of [...room.listeners]) each.deliver(event);
      }
    }
    if (before === undefined) this.#host.notify('onEvent', event);
    // An item that came with the state of its room comes again with an older part of the log.
    else if (before === this.#connection && !ofState && !(key && replay?.rooms.length === 0)) this.duplicates += 1;
    // Only now: had the page died in a handler, the event would be replayed.
    if (this.#resumed && (!replay || replay === this.#base)) {
      this.position = id;
      this.#host.fresh.upTo(event.timestamp);
    }
    if (replay && (replay.left! -= 1) === 0) this.#settle();
  }

  /** Any other frame. */
  frame({ type, data, id }: Frame): void {
    if (type === 'subscribed' && id === undefined && this.#unanswered) this.#answered(this.#base!, data);
    else if (type === 'subscription.revoked') this.#drop(data.rooms, data.reason);
    else if (type === 'authenticated') this.#drop(data.dropped ?? [], 'token');
    else if (type === 'stream.gap') this.#gap(data.reason, this.#rooms.values());
    else if (type === 'presence.joined' || type === 'presence.left') {
      const room = this.#rooms.get(data.room);
      if (room?.members?.[type === 'presence.joined' ? 'add' : 'delete'](data.user_id)) room.present();
    }
    if (!MARKS.has(type) || !data.cursor) return;
    // Everything up to the cursor was given to this connection, or given up.
    this.#settle();
    if (!this.#resumed) return;
    this.position = data.cursor;
    if (data.as_of) this.#host.fresh.upTo(data.as_of);
  }

  /** Handles an `error` that answers no command; returns whether it refuses the rooms of the URL. */
  refuse(error: GatewayError): boolean {
    const refused = this.#live && this.#unanswered;
    if (refused) this.#refused(this.#base!, error);
    return refused;
  }

  // ---- replays

  /** Whether the rooms are joined on this connection, so that its events follow `position`. */
  get #resumed(): boolean { return this.#base === undefined || this.#base.left !== undefined; }

  /** Whether the reply to the URL, a frame without `id`, is still to come. */
  get #unanswered(): boolean { return this.#inUrl && !this.#resumed; }

  #ask(replay: Replay): void {
    const rooms = replay.rooms.map(({ name }) => name);
    this.#command(
      'subscribe', { rooms, ...replay.how }, (data) => this.#answered(replay, data), (error) => this.#refused(replay, error),
    );
  }

  #answered(replay: Replay, data: Frame['data']): void {
    this.#settle(); // replays follow one another: the one that was answered before has ended
    replay.left = (data.replayed ?? 0) + (data.items ?? 0);
    // `cursor` is the log's head. Where a replay is still to come, its events move the position; and after a command the
    // head may be too far, since replies overtake the events that the gateway still owes to a slow reader.
    if (replay === this.#base && this.#inUrl && !replay.left && data.recovered !== null) this.position = data.cursor;
    for (const room of replay.rooms) {
      room.on = true;
      if (room.asked !== replay) continue; // a gap came meanwhile: it is asked for again
      if (room.owed && replay !== this.#base) room.next = new Map();
      else room.asked = undefined;
    }
    this.#replay = replay;
    if (data.recovered === false) this.#gap('not_recovered', replay.rooms); // the reply does not say why
    for (const room of replay.rooms) this.#complete(room);
    if (!replay.left) this.#settle();
    this.#sync();
  }

  /** All of the replay that was answered last has come. */
  #settle(): void {
    const replay = this.#replay;
    this.#replay = undefined;
    for (const room of replay?.rooms ?? []) {
      if (room.asked !== replay) continue; // a room without state; or a gap came meanwhile
      room.owed = false;
      room.asked = undefined;
      room.items = room.next;
      room.next = undefined;
      room.changed();
      this.#complete(room);
    }
    if (replay) this.#sync();
  }

  /** Follows the room from here on, if nothing of its state is owed. At once: the next frame may be an event of it. */
  #complete(room: RoomRecord): void {
    if (room.owed) return;
    room.kept = true;
    room.ready();
  }

  /** Asks again without the refused rooms: the gateway joins all rooms of a command, or none. */
  #refused(replay: Replay, error: GatewayError): void {
    const { code, message, rooms = [] } = error;
    const { how } = replay;
    const base = replay === this.#base;
    const before = replay.rooms.length;
    this.#inUrl &&= !base;
    this.report(error);
    this.#drop(rooms, code, message);
    replay.rooms = replay.rooms.filter((room) => this.#rooms.get(room.name) === room);
    if (code === 'cursor_invalid' && how.since) {
      if (base) this.position = this.#head;
      how.since = undefined;
      this.#gap(code, replay.rooms);
    } else if (replay.rooms.length === before) {
      if (!rooms.length && TEMPORARY.test(code)) return this.#host.retry(`not subscribed: ${code}`);
      this.#drop(replay.rooms.splice(0).map(({ name }) => name), code, message);
    }
    if (!base) for (const room of replay.rooms) room.asked = undefined;
    else if (replay.rooms.length) return this.#ask(replay);
    else replay.left = 0;
    this.#sync();
  }

  #gap(reason: string, rooms: Iterable<RoomRecord>): void {
    this.#seen.clear(); // events that are loaded again are new
    this.#host.notify('onGap', { reason });
    for (const room of [...rooms]) {
      if (room.items) this.#wantState(room);
      room.members = undefined;
      for (const each of [...room.listeners]) each.gap(reason);
    }
    this.#sync();
  }

  /** Closes rooms that were refused or revoked. */
  #drop(rooms: readonly string[], reason: string, message?: string): void {
    for (const name of rooms) {
      const room = this.#rooms.get(name);
      this.#rooms.delete(name);
      for (const each of room?.listeners ?? []) each.close(reason, message);
    }
  }

  // ---- joining and leaving

  /** Schedules a reconciliation of the joined rooms with the wanted ones: one for all changes of one task. */
  #sync(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    queueMicrotask(() => {
      this.#scheduled = false;
      if (this.#live && this.#resumed) this.#reconcile();
    });
  }

  #reconcile(): void {
    const leave: string[] = [];
    const watch: RoomRecord[] = [];
    const plain: Replay = { rooms: [], how: {} };
    const state: Replay = { rooms: [], how: { state: true } };
    for (const room of this.#rooms.values()) {
      const { name, on, owed, listeners } = room;
      if (!listeners.size) {
        if (room.asked) continue; // its answer comes first
        this.#rooms.delete(name);
        if (on && name !== this.#own) leave.push(name);
      } else if (!room.asked && (owed || !on)) {
        room.asked = owed ? state : plain;
        (room.asked as Replay).rooms.push(room);
      } else if (on && !owed) {
        room.ready();
        if (!room.members && [...listeners].some(({ options }) => options.onPresence)) watch.push(room);
      }
    }
    if (leave.length) this.#command('unsubscribe', { rooms: leave });
    for (const replay of [plain, state]) if (replay.rooms.length) this.#ask(replay);
    if (watch.length) this.#command('subscribe', { rooms: watch.map(({ name }) => name), presence: true });
    for (const room of watch) {
      room.members = new Set();
      this.#command('presence', { room: room.name }, ({ users }) => {
        room.members = new Set(users.map((user: { user_id: string }) => user.user_id));
        room.present();
      });
    }
  }

  /** Where the connection ends first, neither is called. */
  #command(
    type: string, fields: object, done: (data: Frame['data']) => void = () => {},
    failed: (error: GatewayError) => void = (error) => this.report(error),
  ): void {
    this.#host.ask(type, fields, done, (error) => { if (error.code !== 'disconnected') failed(error); });
  }
}
