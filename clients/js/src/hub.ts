/** The leader's side of a shared connection: the rooms of all tabs, the commands of the others, and the frames for them. */

import type { Frame, GatewayEvent } from './types.js';

/** A message of the channel. `text` is a frame or a command as on the wire. */
export type Message =
  | { from: string; join: string[]; attempt: number }
  | { from: string; text: string }
  /** From the leader `by`: a frame for all tabs, or a reply `to` one. */
  | { by: string; to?: string; text: string }
  /** From the leader: it has joined the tab's rooms, and posts every event after `cursor`. Undefined while events are owed
   *  to the leader itself, so that it has no cursor. */
  | { by: string; to: string; attempt: number; cursor: string | undefined };

/** What the hub posts, without its `by`. */
type Posted = { to?: string; text: string } | { to: string; attempt: number; cursor: string | undefined };

/** A command with the fields that matter here. */
export type Command = { type: string; id: number | string; rooms?: string[]; since?: string; state?: true; history?: number };

/** Frames without an `id` about the leader's own connection or token. All others are posted. */
const LEADER_ONLY = new Set(['connection.established', 'subscribed', 'error', 'token.expiring']);

/** The `id` of a command for another tab, which its reply echoes: `<tab> <id of the tab's command>`, or for the hub's own
 *  commands `<tab> join <attempt>` and `<tab> place <attempt>`. */
export class Hub {
  #id: string;
  #send: (command: object) => void;
  #post: (message: Posted) => void;
  /** The rooms of each tab, the leader's among them. */
  #members = new Map<string, Set<string>>();

  constructor(id: string, own: Set<string>, send: (command: object) => void, post: (message: Posted) => void) {
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
      // A tab holds the lock of its id until it ends.
      if (!this.#members.has(from)) navigator.locks.request(from, () => this.#left(from));
      this.#members.set(from, new Set(message.join));
      this.#send({ type: 'subscribe', id: `${from} join ${message.attempt}`, rooms: message.join });
    } else if (this.#members.has(from)) {
      const command = JSON.parse(message.text);
      this.command(from, { ...command, id: `${from} ${command.id}` });
    }
  }

  /** Unsubscribes from the rooms that only this tab was in. */
  #left(from: string): void {
    const rooms = [...this.#members.get(from) ?? []];
    if (rooms.length) this.command(from, { type: 'unsubscribe', id: ' left', rooms });
    this.#members.delete(from);
  }

  /** Sends a tab's command. The connection leaves a room only when no tab is in it any more. */
  command(from: string, command: Command): void {
    const { type, id } = command;
    let { rooms = [] } = command;
    const wanted = this.#members.get(from)!;
    if (type === 'subscribe') for (const room of rooms) wanted.add(room);
    if (type === 'unsubscribe') {
      for (const room of rooms) wanted.delete(room);
      rooms = rooms.filter((room) => ![...this.#members.values()].some((each) => each.has(room)));
      if (!rooms.length) return this.#send({ type: 'ping', id }); // in place of `unsubscribed`: the tab waits for a reply
      command = { ...command, rooms };
    }
    this.#send(command);
  }

  /** Posts a frame of the connection to the tabs that it is for. */
  frame(frame: Frame | GatewayEvent, text: string): void {
    if ('event_id' in frame || (frame.id === undefined && !LEADER_ONLY.has(frame.type))) this.#post({ text });
    const { dropped: rooms } = frame.data;
    if (frame.type !== 'authenticated' || !rooms?.length) return;
    const { timestamp } = frame;
    const revoked = { type: 'subscription.revoked', data: { rooms, reason: 'token' }, timestamp };
    this.#post({ text: JSON.stringify(revoked) });
  }

  /** Posts a reply to the tab that sent the command, or for which the hub sent it. */
  reply(frame: Frame, to: string, what: string, attempt: string | undefined): void {
    if (what === 'join' && frame.type === 'subscribed') this.#send({ type: 'ping', id: `${to} place ${attempt}` });
    else if (attempt) this.#post({ to, attempt: Number(attempt), cursor: frame.data.cursor });
    else this.#post({ to, text: JSON.stringify({ ...frame, id: Number(what) }) });
  }

  /** Ends the leadership of this tab. */
  resign(): void { for (const from of [...this.#members.keys()]) if (from !== this.#id) this.#left(from); }
}
