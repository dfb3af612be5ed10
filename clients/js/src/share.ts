/** One connection for all tabs of a user. The tab that holds a Web Lock leads: its connection is in the rooms of all tabs,
 *  and a BroadcastChannel carries its frames. The others follow, each with its own rooms and cursor.
 *
 *  A tab begins with a connection of its own, which resumes and replays. Once nothing is owed to it, it leads, if no other tab
 *  does, or it follows:
 *
 *  1. It asks the leader to join its rooms. The leader answers with its place in the log; the frames that it posts from
 *     then on are kept.
 *  2. The tab subscribes on its own connection, since that place, and asks for a mark: with it, it has everything up to
 *     there, though the two may be connected to different nodes.
 *  3. It closes its connection and delivers the kept frames, except for the events that it has.
 *
 *  A replay takes a connection of its own, and so does every fault: the socket closes, and the client resumes at its
 *  cursor. */

import { type Command, Hub, type Message } from './hub.js';
import { roomsOf } from './items.js';
import type { Frame, GatewayEvent, Socket, WebSocketConstructor } from './types.js';

const RETRY_DELAY = 1_000; // milliseconds between attempts to share, longer after each
const ANSWER_DEADLINE = 5_000; // of the leader
const MAX_UNANSWERED = 2; // attempts that a leader may leave unanswered: it is frozen, and replaced

/** The constructor for `WebSocket` of `connect`, by which the tabs of one user share a connection. Where the browser has no
 *  Web Locks (a page that is not served securely), each tab has its own. Undefined where the platform has no WebSocket. */
export const share = (inner: WebSocketConstructor | undefined = globalThis.WebSocket): WebSocketConstructor | undefined =>
  inner && class extends SharedSocket {
    constructor(url: string, protocols: string[] = []) { super(new inner(url, protocols), url); }
  };

class SharedSocket implements Socket {
  onmessage: Socket['onmessage'] = null;
  onclose: Socket['onclose'] = null;
  onerror: Socket['onerror'] = null;
  /** `own`: a connection of its own, not shared. `joining`: the same, with a leader asked. */
  #role: 'own' | 'joining' | 'leading' | 'following' | 'closed' = 'own';
  #url: URL;
  #own: Socket | undefined;
  #rooms = new Set<string>();
  /** The client's commands without a reply. */
  #asked = new Map<unknown, Command>();
  #id = '';
  #name = '';
  #channel: BroadcastChannel | undefined;
  #hub: Hub | undefined;
  #release: (() => void) | undefined; // of the lock, while leading
  #leader: string | undefined;
  #kept: string[] | undefined; // frames that the leader posted while this tab was joining
  #brought = new Set<string>(); // events of our own connection while joining
  #attempts = 0;
  #unanswered = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #ended = new AbortController();
  #clock = ''; // the gateway's, as of the last frame

  constructor(own: Socket, url: string) {
    this.#url = new URL(url);
    this.#own = own;
    own.onmessage = ({ data }) => this.#receive(data);
    own.onclose = (event) => { this.close(); this.onclose?.(event); };
    own.onerror = (event) => this.onerror?.(event);
  }

  get readyState(): number { return this.#own?.readyState ?? (this.#role === 'following' ? 1 : 3); }

  send(text: string): void {
    const command: Command = JSON.parse(text);
    const { type, id, rooms, since, state, history } = command;
    const replay = since ?? state ?? history;
    this.#asked.set(id, command);
    if (type === 'unsubscribe') for (const room of rooms!) this.#rooms.delete(room);
    if (this.#role === 'following') {
      // Not at once: the command has to be known as one that has no reply.
      if (replay) queueMicrotask(() => this.#end(true));
      else this.#post({ from: this.#id, text });
      return;
    }
    if (rooms && this.#role === 'joining') this.#retreat(); // the leader was asked for others
    if (replay && this.#role === 'leading') this.#resign();
    if (this.#role === 'leading') this.#hub!.command(this.#id, command);
    else this.#own!.send(text);
  }

  close(): void {
    if (this.#role === 'closed') return;
    this.#role = 'closed';
    this.#ended.abort();
    this.#release?.();
    this.#channel?.close();
    clearTimeout(this.#timer);
    this.#own?.close();
  }

  // ---- our own connection

  #receive(text: string): void {
    const frame: Frame | GatewayEvent = JSON.parse(text);
    if ('event_id' in frame) this.#note(frame);
    else if (typeof frame.id === 'string') return this.#reply(frame, ...frame.id.split(' ') as [string, string, string?]);
    else if (frame.type === 'connection.established') this.#established(frame.data);
    this.#hub?.frame(frame, text);
    this.#hand(frame, text);
  }

  #established({ tenant, user_id, rooms, subscribed }: Frame['data']): void {
    for (const room of subscribed) this.#rooms.add(room);
    if (!globalThis.navigator?.locks || !globalThis.BroadcastChannel) return;
    const { origin, pathname } = this.#url;
    this.#name = ['gathering', origin + pathname, tenant, user_id, ...[...rooms].sort()].join(' ');
    this.#id = crypto.randomUUID();
    this.#later();
  }

  /** An event that comes while joining. A keyed one may stand for several that the leader posts one by one. */
  #note({ key, event_id }: GatewayEvent): void {
    if (this.#role !== 'joining') return;
    if (key) this.#retreat();
    else this.#brought.add(event_id);
  }

  /** The reply to a command of the socket itself, or of another tab. */
  #reply(frame: Frame, to: string, what: string, attempt?: string): void {
    const { type, data } = frame;
    if (to) return this.#hub?.reply(frame, to, what, attempt);
    if (what === 'place' && this.#role === 'own') {
      if (data.cursor && !this.#asked.size) this.#share();
      else this.#later();
    }
    if (this.#role !== 'joining' || Number(attempt) !== this.#attempts) return; // of an earlier attempt
    if (type === 'subscribed') this.#command({ type: 'ping', id: ` joined ${attempt}` });
    else if (data.cursor) this.#follow();
    else this.#retreat();
  }

  /** Hands a frame to the client: an event if it is of the client's rooms. */
  #hand(frame: Frame | GatewayEvent, text: string): void {
    if ('event_id' in frame) {
      if (![...roomsOf(frame), 'tenant'].some((room) => this.#rooms.has(room))) return;
    } else {
      const { type, id, data } = frame;
      const { rooms } = this.#asked.get(id) ?? data;
      this.#clock = frame.timestamp;
      this.#asked.delete(id);
      if (type === 'subscribed') for (const room of rooms) this.#rooms.add(room);
      for (const room of type === 'subscription.revoked' ? rooms : data.dropped ?? []) this.#rooms.delete(room);
    }
    this.onmessage?.({ data: text });
  }

  #command(command: object): void { this.#own!.send(JSON.stringify(command)); }

  // ---- sharing

  /** Asks for the place of our own connection: it has one where nothing is owed to it. */
  #later(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (this.#role !== 'own') return;
      if (this.#asked.size) this.#later();
      else this.#command({ type: 'ping', id: ' place' });
    }, RETRY_DELAY * (this.#attempts += 1));
  }

  #share(): void {
    this.#role = 'joining';
    if (!this.#channel) {
      this.#channel = new BroadcastChannel(this.#name);
      this.#channel.onmessage = ({ data }) => this.#message(data);
      const { signal } = this.#ended;
      // As long as this lock is held, the leader treats this tab as alive.
      navigator.locks.request(this.#id, { signal }, () => new Promise((end) => { signal.onabort = end; })).catch(() => {});
    }
    this.#lock({ [this.#unanswered < MAX_UNANSWERED ? 'ifAvailable' : 'steal']: true });
  }

  #lock(options: LockOptions): void {
    navigator.locks.request(this.#name, options, (lock) => {
      if (this.#role === 'joining') return lock ? this.#lead() : this.#join();
    }).catch(() => { if (this.#role === 'leading') this.#end(); }); // another tab treated this one as frozen
  }

  #lead(): Promise<void> {
    this.#role = 'leading';
    this.#attempts = 0;
    this.#hub = new Hub(this.#id, this.#rooms, (command) => this.#command(command), (message) => this.#post({ by: this.#id, ...message }));
    return new Promise((release) => { this.#release = release; });
  }

  #resign(): void {
    this.#hub!.resign();
    this.#hub = undefined;
    this.#role = 'own';
    this.#release!();
    this.#later();
  }

  #join(): void {
    this.#brought.clear();
    this.#kept = undefined;
    this.#post({ from: this.#id, join: [...this.#rooms], attempt: this.#attempts });
    this.#timer = setTimeout(() => {
      this.#unanswered += 1;
      this.#retreat();
    }, ANSWER_DEADLINE);
  }

  /** Back to a connection of its own, which it has still. */
  #retreat(): void {
    this.#role = 'own';
    this.#later();
  }

  #follow(): void {
    if (this.#asked.size) return this.#retreat();
    clearTimeout(this.#timer);
    const own = this.#own!;
    own.onmessage = own.onclose = null;
    own.close();
    this.#own = undefined;
    this.#role = 'following';
    for (const text of this.#kept!) this.#deliver(text);
    // Granted when the leader has ended.
    navigator.locks.request(this.#name, { signal: this.#ended.signal }, () => this.#end()).catch(() => {});
  }

  /** The client comes back with a connection of its own: `now`, else with backoff. */
  #end(now = false): void {
    if (this.#role === 'closed') return;
    const timestamp = this.#clock;
    if (now) this.onmessage?.({ data: JSON.stringify({ type: 'server.draining', data: { reconnect_after_ms: 0 }, timestamp }) });
    this.close();
    this.onclose?.({ code: 1012, reason: 'the shared connection ended' });
  }

  // ---- the channel

  #post(message: Message): void { this.#channel!.postMessage(message); }

  #message(message: Message): void {
    if (this.#role === 'leading') return this.#hub!.receive(message);
    if (!('by' in message) || (message.to ?? this.#id) !== this.#id) return;
    if ('attempt' in message) return this.#welcome(message.by, message.attempt, message.cursor);
    if (message.by !== this.#leader || !('text' in message)) return;
    if (this.#role === 'joining') this.#kept?.push(message.text);
    else if (this.#role === 'following') this.#deliver(message.text);
  }

  #welcome(by: string, attempt: number, since: string | undefined): void {
    if (this.#role !== 'joining' || attempt !== this.#attempts) return;
    this.#unanswered = 0;
    if (!since) return this.#retreat();
    this.#leader = by;
    this.#kept = [];
    this.#command({ type: 'subscribe', id: ` join ${attempt}`, rooms: [...this.#rooms], since });
  }

  /** A frame of the leader's connection. */
  #deliver(text: string): void {
    const frame: Frame | GatewayEvent = JSON.parse(text);
    if ('event_id' in frame && this.#brought.delete(frame.event_id)) return;
    // The limit is that of a connection; alone the tab may be within it.
    if (frame.type === 'error' && frame.data.code === 'too_many_rooms') this.#end();
    else this.#hand(frame, text);
  }
}
