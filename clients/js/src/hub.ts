/** The leader's part of a shared connection: the rooms of all tabs, their commands, and what is handed on to them. */

import type { Frame, GatewayEvent } from './types.js';

/** What goes over the channel. `text` is a frame or a command as on the wire. */
export type Message =
  | { from: string; join: string[]; attempt: number }
  | { from: string; text: string }
  /** Of the leader `by`; to all, or a reply `to` one tab. */
  | { by: string; to?: string; text: string }
  /** The leader is in the tab's rooms, and has handed on all behind this place; without one it cannot tell its place. */
  | { by: string; to: string; attempt: number; cursor: string | undefined };

/** A command with the fields that matter here. */
export type Command = { type: string; id: number | string; rooms?: string[]; since?: string; state?: true; history?: number };

/** Frames without an `id` that concern the leader's connection alone, or its token. Any other concerns all tabs. */
const OWN = new Set(['connection.established', 'subscribed', 'error', 'token.expiring']);

/** Replies are known by their `id`: that of a tab, and that of its command, or `join` or `place` with its attempt. */
export class Hub {
  #id: string;
  #send: (command: object) => void;
  #post: (message: Message) => void;
  /** The rooms of each tab; those of the leader's own are `own`. */
  #members = new Map<string, Set<string>>();

  constructor(id: string, own: Set<string>, send: (command: object) => void, post: (message: Message) => void) {
    this.#id = id;
    this.#send = send;
    this.#post = post;
    this.#members.set(id, own);
  }

  /** A message of another tab. */
  receive(message: Message): void {
    if (!('from' in message)) return;
    const { from } = message;
    if ('join' in message) {
      // The lock that a tab holds as long as it lives.
      if (!this.#members.has(from)) navigator.locks.request(from, () => this.#members.delete(from));
      this.#members.set(from, new Set(message.join));
      this.#send({ type: 'subscribe', id: `${from} join ${message.attempt}`, rooms: message.join });
    } else if (this.#members.has(from)) {
      const command = JSON.parse(message.text);
      this.command(from, { ...command, id: `${from} ${command.id}` });
    }
  }

  /** Sends a tab's command. A room is left with the last tab that has it. */
  command(from: string, command: Command): void {
    const { type, id } = command;
    let { rooms = [] } = command;
    const wanted = this.#members.get(from)!;
    if (type === 'subscribe') for (const room of rooms) wanted.add(room);
    if (type === 'unsubscribe') {
      for (const room of rooms) wanted.delete(room);
      rooms = rooms.filter((room) => ![...this.#members.values()].some((each) => each.has(room)));
      if (!rooms.length) return this.#send({ type: 'ping', id }); // its reply is as good
      command = { ...command, rooms };
    }
    this.#send(command);
  }

  /** A frame of the connection. */
  frame(frame: Frame | GatewayEvent, text: string): void {
    if ('event_id' in frame || (frame.id === undefined && !OWN.has(frame.type))) this.#post({ by: this.#id, text });
    const { dropped: rooms } = frame.data;
    if (frame.type !== 'authenticated' || !rooms?.length) return;
    const { timestamp } = frame;
    const revoked = { type: 'subscription.revoked', data: { rooms, reason: 'token' }, timestamp };
    this.#post({ by: this.#id, text: JSON.stringify(revoked) });
  }

  /** The reply to a command of another tab, or to one of ours for it. */
  reply(frame: Frame, to: string, what: string, attempt: string | undefined): void {
    const by = this.#id;
    if (what === 'join' && frame.type === 'subscribed') this.#send({ type: 'ping', id: `${to} place ${attempt}` });
    else if (attempt) this.#post({ by, to, attempt: Number(attempt), cursor: frame.data.cursor });
    else this.#post({ by, to, text: JSON.stringify({ ...frame, id: Number(what) }) });
  }

  /** Leaves the rooms that only other tabs have. */
  resign(): void {
    const own = this.#members.get(this.#id)!;
    const rooms = [...this.#members.values()].flatMap((each) => [...each]).filter((room) => !own.has(room));
    if (rooms.length) this.#send({ type: 'unsubscribe', id: ' resign', rooms: [...new Set(rooms)] });
  }
}
