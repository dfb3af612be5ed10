/** Where a client resumes: its cursor, its rooms, and the replays that are open. Pure bookkeeping, no socket, no clock.
 *
 *  A replay is open from its command to the next mark. While it is open its own place moves, and the cursor does not:
 *  an event's id would carry it past what is still owed. */

import type { Frame, How } from './types.js';

/** A part of the log that was asked for, and how to ask for the rest of it. */
export interface Replay {
  rooms: string[];
  /** `since` moves with the events of the replay. */
  how: How;
  /** Those of the rooms that it joined. */
  fresh?: string[];
  /** Events to come; undefined while it is not answered. */
  left?: number;
  /** It was cut short before: some of its events may be known. */
  again?: boolean;
  inUrl?: boolean;
  /** Called when all of it has come. */
  done?: () => void;
}

/** Rooms of an `unsubscribe` on its way. */
export interface Leave {
  rooms: readonly string[];
  /** Those of them that were joined: all come back where it is refused. */
  left: Set<string>;
}

const REMEMBERED = 5_000; // event_ids
const MARKS = new Set(['stream.mark', 'stream.gap', 'pong', 'server.draining']); // whose `cursor` is a place of ours

export class Resume {
  readonly rooms: Set<string>;
  /** Rooms whose presence is told. */
  readonly watched = new Set<string>();
  /** Rooms whose items are kept. */
  readonly stateful = new Set<string>();
  /** Up to here everything of our rooms was handled, save what open replays owe. */
  position: string | undefined;
  /** The number of the attempt to connect; whatever belongs to an older one is ignored. */
  connection = 0;
  /** Our rooms on this connection, from `position` on. */
  base: Replay | undefined;
  /** Of commands; a new connection asks for them again. */
  open: Replay[] = [];
  /** Whose events come now: the gateway gives one replay after another. */
  current: Replay | undefined;
  readonly leaving = new Set<Leave>();
  duplicates = 0; // the gateway promises none; counted so that a page can show it
  #own = '';
  #seen = new Map<string, number>(); // event_id: the connection that brought it

  constructor(rooms: Iterable<string> = [], since?: string) {
    this.rooms = new Set(rooms);
    this.position = since;
  }

  /** Where a later connection goes on; while an older part of the log is replayed, the place there. */
  get cursor(): string | undefined { return this.open.find(({ how }) => how.since)?.how.since ?? this.position; }

  /** What the URL asked for, until it is answered by a frame without `id`. */
  get unanswered(): Replay | undefined { return this.base?.inUrl && !this.resumed ? this.base : undefined; }

  /** Whether our rooms were joined on this connection, so that what comes now follows `position`. */
  get resumed(): boolean { return this.base === undefined || this.base.left !== undefined; }

  /** What a new connection asks for first; `inUrl` where its URL does. */
  begin(fits: (rooms: string[]) => boolean): Replay | undefined {
    // These are joined by their replay, from its own place; a replay without a place only looks back from ours.
    const later = new Set(this.open.flatMap(({ fresh, how }) => (how.since && fresh) || []));
    const rooms = [...this.rooms].filter((room) => !later.has(room));
    const inUrl = fits(rooms);
    const how: How = { since: this.position };
    if (this.position && this.stateful.size) how.state = true;
    this.base = rooms.length || this.position ? { rooms, how, again: true, inUrl } : undefined;
    return this.base;
  }

  /** The connection is established. */
  establish(userId: string, head: string): void {
    this.#own = `user:${userId}`;
    this.position ??= head; // resuming: ours is older, and the replay is still to come
  }

  /** Answered: these rooms are joined. */
  answered(rooms: string[], data: Frame['data'], replay: Replay | undefined): void {
    this.settle(); // one after another: what was answered before has come
    const others = rooms.filter((room) => room !== this.#own);
    if (replay) {
      replay.fresh ??= others.filter((room) => !this.rooms.has(room));
      replay.left = (data.replayed ?? 0) + (data.items ?? 0);
      if (replay.left) this.current = replay;
      const { presence, state } = replay.how;
      if (presence !== undefined) for (const room of others) this.watched[presence ? 'add' : 'delete'](room);
      if (state && replay !== this.base) for (const room of others) this.stateful.add(room);
      this.#keep(replay);
    }
    this.join(others);
    if (replay?.inUrl) {
      this.rooms.delete('*'); // it stood for these
      // `cursor` is the log's head. With a replay still to come, its events are what moves our place. Nor can the head
      // be ours after a command, where replies overtake the events that the gateway still owes to a slow reader.
      if (!replay.left && data.recovered !== null) this.position = data.cursor;
    }
  }
  /** Its rooms without those that were left or refused. */
  still({ rooms }: Replay): string[] { return rooms.filter((room) => this.rooms.has(room) || room === this.#own); }

  /** The gateway has us in these rooms. Those that an `unsubscribe` on its way names are left, unless it is refused. */
  join(rooms: Iterable<string>): void {
    for (const room of rooms) {
      const leave = [...this.leaving].find((each) => each.rooms.includes(room));
      (leave?.left ?? this.rooms).add(room);
    }
  }

  lose(rooms: readonly string[]): void {
    for (const room of rooms) for (const set of [this.rooms, this.watched, this.stateful]) set.delete(room);
  }

  /** An event has come, of the replay `current` or live. Returns whether the page is to get it. */
  isNew(eventId: string): boolean {
    const before = this.#seen.get(eventId);
    if (before === this.connection) this.duplicates += 1;
    this.#seen.set(eventId, this.connection);
    if (this.#seen.size > REMEMBERED) this.#seen.delete(this.#seen.keys().next().value!);
    return !this.current?.again || before === undefined || before === this.connection;
  }

  /** An event of `replay`, or live, was handled. While an older part is replayed, or our rooms are not joined yet, it
   *  must not carry our place past what is still owed. Returns whether it moved our place. */
  handled(eventId: string, replay: Replay | undefined): boolean {
    const moves = this.resumed && (!replay || replay === this.base);
    if (moves) this.position = eventId;
    if (replay) {
      replay.how.since = eventId;
      replay.left! -= 1;
      if (replay.left === 0) this.settle();
    }
    return moves;
  }

  /** Everything up to the frame's cursor was given to this connection, or given up. */
  mark({ type, data }: Frame): void {
    if (!MARKS.has(type) || !data.cursor) return;
    this.settle();
    if (this.resumed) this.position = data.cursor;
  }

  /** All events of the replay that was answered last have come. */
  settle(): void {
    const replay = this.current;
    this.current = undefined;
    if (replay) this.end(replay);
  }

  end(replay: Replay): void {
    replay.left = 0;
    this.#keep(replay);
  }

  /** Puts the replay of a command among those that are open, or takes it out. */
  #keep(replay: Replay): void {
    if (replay !== this.base) {
      const others = this.open.filter((other) => other !== replay);
      this.open = replay.left ? [...others, replay] : others;
    }
    if (!replay.left) replay.done?.();
  }

  /** What the page loads anew, or gets again by joining anew, is not to be taken for known. */
  forget(): void { this.#seen.clear(); }
}
