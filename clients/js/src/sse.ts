/** Server-Sent Events in place of a WebSocket, for networks that block those: a socket whose commands are HTTP requests.
 *
 *  A stream's rooms are those of its URL. So a change of rooms ends it and opens another one at its cursor; what the
 *  gateway keeps from there is the rest of the old stream and the beginning of the new rooms. */

import type { Frame, GatewayEvent, Options, Socket } from './types.js';

/** The close codes of a WebSocket in the place of refusals, by HTTP status; of any other: 1006. */
const CLOSE_BY_STATUS: Readonly<Record<number, number>> = { 403: 4403, 422: 4400, 429: 1013, 503: 1013 };

const SILENCE_TIMEOUT = 20_000; // milliseconds; the gateway writes something every 15 s

type Query = Record<string, string | undefined>;
type Command = { type: string; id: number; rooms: string[]; since?: string; state?: true; [field: string]: any };

/** The `fallback` of `connect`. */
export const eventStream: NonNullable<Options['fallback']> = (options, query, token) =>
  new EventStreamSocket(options, query, token);

class EventStreamSocket implements Socket {
  readyState = 0;
  onmessage: Socket['onmessage'] = null;
  onclose: Socket['onclose'] = null;
  onerror: Socket['onerror'] = null;
  #options: Options;
  #token: string | undefined;
  #rooms: Set<string>;
  /** The id of the last block that was delivered. */
  #cursor: string | undefined;
  #stream: AbortController | undefined;
  /** The ids of items that came as state, which the stream behind it may bring again. */
  #known = new Set<string>();
  #readAt = 0;
  #draining: Frame | undefined; // the stream's `server.draining`
  #clock = new Date(0).toISOString(); // the gateway's, as of its last frame
  /** Commands are carried out one after another. */
  #queue: Promise<void>;

  constructor(options: Options, query: Query, token: string | undefined) {
    this.#options = options;
    this.#token = token;
    this.#rooms = new Set(query.rooms?.split(',').filter(Boolean));
    this.#queue = this.#begin(query).catch((cause) => this.#fail(cause));
  }

  send(text: string): void {
    const command: Command = JSON.parse(text);
    if (command.type === 'ping') { // at once: it asks whether the connection is alive
      if (performance.now() - this.#readAt < SILENCE_TIMEOUT) this.#reply(command, 'pong', {});
    } else if (command.type === 'publish' || command.type === 'presence') {
      this.#run(command);
    } else {
      this.#queue = this.#queue.then(() => this.#run(command));
    }
  }

  close(): void {
    this.readyState = 3;
    this.#stream?.abort();
  }

  // ---- the stream

  async #begin(query: Query): Promise<void> {
    try {
      await this.#open(query, (frame) => this.#emit(frame));
    } catch (cause) {
      const refusal = cause as Refusal;
      if (!refusal.problem?.rooms) throw cause;
      // As on a WebSocket: the connection stands, and none of the rooms is joined.
      this.#rooms.clear();
      await this.#open({ ...query, rooms: undefined }, (frame) => {
        this.#emit(frame);
        if (frame.type === 'connection.established') this.#emit({ type: 'error', data: refusal.problem!, timestamp: this.#clock });
      });
    }
  }

  /** Opens a stream in place of the one before. Its first frames, up to `subscribed` where there is one, go to `first`,
   *  the rest is delivered. Resolves when it has begun. */
  async #open(query: Query, first: (frame: Frame) => void): Promise<void> {
    this.#stream?.abort();
    this.#draining = undefined;
    const stream = this.#stream = new AbortController();
    const reply = await this.#fetch('events/stream', { signal: stream.signal }, { ...query, client_id: this.#options.clientId });
    this.readyState = 1;
    const reader = reply.body!.pipeThrough(new TextDecoderStream()).getReader();
    const awaited = query.rooms || query.since ? 'subscribed' : 'connection.established';
    await new Promise<void>((begun, failed) => {
      let beginning = true;
      const deliver = (frame: Frame) => {
        if (!beginning) return this.#emit(frame);
        first(frame);
        if (frame.type !== awaited) return;
        beginning = false;
        begun();
      };
      this.#read(reader, stream.signal, deliver).catch(() => {}).then(() => {
        failed(new Error('the stream ended'));
        if (beginning || stream.signal.aborted) return;
        // Again, since the time to a stream's slot counts from its end; without its cursor, which is an older place.
        if (this.#draining) this.#emit({ ...this.#draining, data: { ...this.#draining.data, cursor: undefined } });
        this.#end(this.#draining ? 1012 : 1006);
      });
    });
  }

  async #read(reader: ReadableStreamDefaultReader<string>, signal: AbortSignal, deliver: (frame: Frame) => void): Promise<void> {
    let text = '';
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      this.#readAt = performance.now();
      text += value;
      for (let end; (end = text.indexOf('\n\n')) >= 0; text = text.slice(end + 2)) {
        if (signal.aborted) return;
        this.#block(text.slice(0, end), deliver);
      }
    }
  }

  #block(block: string, deliver: (frame: Frame) => void): void {
    const fields = new Map(block.split('\n').map((line) => line.split(/: ?(.*)/s) as [string, string]));
    const id = fields.get('id');
    const data = fields.get('data');
    const frame = data ? JSON.parse(data) : id && { type: 'stream.mark', data: { cursor: id }, timestamp: this.#clock };
    if (!frame) return; // a comment, or `retry`
    if (frame.event_id === undefined) this.#clock = frame.timestamp;
    if (frame.type === 'server.draining') this.#draining = frame;
    if (!this.#known.delete(frame.event_id)) deliver(frame);
    if (id) this.#cursor = id;
  }

  // ---- commands

  async #run(command: Command): Promise<void> {
    const { type, rooms, id } = command;
    try {
      if (type === 'publish') {
        const reply = await this.#fetch('events', {
          method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(command.event),
        });
        this.#reply(command, 'published', await reply.json());
      } else if (type === 'presence') {
        const reply = await this.#fetch(`rooms/${encodeURIComponent(command.room)}/presence`);
        this.#reply(command, 'presence', await reply.json());
      } else if (type === 'auth') {
        this.#token = command.token;
        await this.#change(this.#rooms);
        this.#reply(command, 'authenticated', {});
      } else if (type === 'unsubscribe') {
        await this.#change(new Set([...this.#rooms].filter((room) => !rooms.includes(room))));
        this.#reply(command, 'unsubscribed', { rooms });
      } else if (command.presence) {
        this.#reply(command, 'subscribed', { rooms, recovered: null, replayed: 0 });
      } else if (command.history) {
        this.#reply(command, 'error', { code: 'unknown_type', message: 'history takes a WebSocket' });
      } else {
        await this.#subscribe(command);
      }
    } catch (cause) {
      const { problem } = cause as Refusal;
      if (problem) this.#emit({ type: 'error', id, data: problem, timestamp: this.#clock });
      else this.#fail(cause);
    }
  }

  async #subscribe(command: Command): Promise<void> {
    const { rooms, since, state } = command;
    // The stream ends first: what it would still bring moves our cursor, and may be newer than the state that comes.
    if (state) this.#stream?.abort();
    const items = state && !since ? await this.#items(rooms) : [];
    await this.#change(new Set([...this.#rooms, ...rooms]), since, (data) => {
      const { recovered, replayed } = since ? data : { recovered: null, replayed: 0 };
      this.#reply(command, 'subscribed', { ...data, rooms, recovered, replayed, items: since ? data.items : items.length });
      for (const item of items) this.#emit(item);
      this.#known = new Set(items.map((item) => item.event_id));
    });
  }

  /** The newest values of the items of these rooms. They are older than what a stream from our cursor on will bring. */
  async #items(rooms: string[]): Promise<GatewayEvent[]> {
    const items: GatewayEvent[] = [];
    for (const room of rooms) {
      let after: string | undefined;
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
  async #change(rooms: Set<string>, since?: string, joined?: (data: Frame['data']) => void): Promise<void> {
    const from = since ?? this.#cursor;
    const begin = ({ type, data }: Frame) => {
      if (type !== 'subscribed') return;
      if (data.recovered === false && !since) this.#lost(data);
      joined?.(data);
    };
    try {
      await this.#open({ rooms: [...rooms].join(), since: from, state: from && '1' }, begin);
      this.#rooms = rooms;
    } catch (cause) {
      if (!(cause as Refusal).problem || rooms === this.#rooms) throw cause;
      await this.#change(this.#rooms);
      throw cause;
    }
  }

  #lost(data: Frame['data']): void {
    this.#emit({ type: 'stream.gap', data: { reason: 'not_recovered', cursor: data.cursor }, timestamp: this.#clock });
  }

  // ---- HTTP

  /** Throws a `Refusal` for an answer that is not 200. */
  async #fetch(path: string, init: RequestInit = {}, query: Query = {}): Promise<Response> {
    if (this.readyState === 3) throw new Error('closed'); // by the client, while a command waited for its turn
    const url = new URL(`../${path}`, new URL(this.#options.url, globalThis.location?.href));
    url.protocol = url.protocol.replace('ws', 'http');
    url.search = '';
    for (const [name, value] of Object.entries(query)) if (value) url.searchParams.set(name, value);
    const headers = new Headers(init.headers);
    if (this.#token) headers.set('Authorization', `Bearer ${this.#token}`);
    const reply = await fetch(url, { ...init, headers });
    if (reply.status === 204) throw new Refusal({ code: 'token_revoked', message: 'revoked' });
    if (reply.ok) return reply;
    const { code, detail, title, rooms } = await reply.json();
    const wait = Number(reply.headers.get('Retry-After')) || undefined;
    throw new Refusal({ code, message: detail ?? title, rooms, retry_after: wait }, reply.status);
  }

  /** The stream cannot begin or go on. */
  #fail(cause: unknown): void {
    const { problem, status } = cause as Refusal;
    if (problem?.code.startsWith('token_')) return this.#end(4401, problem.code);
    if (problem) this.#emit({ type: 'error', data: problem, timestamp: this.#clock });
    this.#end(CLOSE_BY_STATUS[status!] ?? 1006, problem?.code);
  }

  #end(code: number, reason = ''): void {
    this.close();
    this.onclose?.({ code, reason });
  }

  #reply({ id }: Command, type: string, data: Frame['data']): void {
    this.#emit({ type, id, data, timestamp: this.#clock });
  }

  #emit(frame: object): void {
    if (this.readyState < 2) this.onmessage?.({ data: JSON.stringify(frame) });
  }
}

/** An answer that is not 200: its problem document as the data of an `error` frame. */
class Refusal extends Error {
  constructor(
    readonly problem: { code: string; message: string; rooms?: string[]; retry_after?: number | undefined },
    readonly status?: number,
  ) {
    super(problem.message);
  }
}
