/** The public types: events, options, states. */

import type { GatewayError } from './errors.js';

/** An id of the application, 7 or "7". */
export type Id = number | string;

/** Event types with the shape of their `data`: `interface Events { 'task.completed': { task: number } }`. */
export type AnyEvents = Record<string, Record<string, any>>;

/** One event as received. `key` and `op` are those of keyed events. */
export interface EventOf<T extends string, D> {
  readonly type: T;
  readonly data: D;
  readonly event_id: string;
  readonly timestamp: string;
  readonly user_id?: string;
  readonly key?: string;
  readonly op?: 'set' | 'append' | 'delete';
  readonly version?: number;
  readonly traceparent?: string;
  /** `circle_id`, `project_id` and those of other kinds of room; `source_agent_id`. */
  readonly [name: `${string}_id`]: Id | undefined;
}

/** The events of a map: a union, discriminated by `type`. */
export type GatewayEvent<E extends object = AnyEvents> = { [T in keyof E & string]: EventOf<T, E[T]> }[keyof E & string];

/** An event to publish. Without an `idempotency_key` the client makes one. */
export type Draft<E extends object = AnyEvents> = {
  [T in keyof E & string]: {
    type: T;
    data: E[T];
    user_id?: string;
    key?: string;
    op?: 'set' | 'append' | 'delete';
    version?: number;
    idempotency_key?: string;
    traceparent?: string;
    [name: `${string}_id`]: Id | undefined;
  };
}[keyof E & string];

/** `connecting`: an attempt is under way. `reconnecting`: the next one begins at `retryAt`. `closed`: for good. */
export type State = 'connecting' | 'live' | 'reconnecting' | 'closed';

export interface StateChange {
  state: State;
  /** Why, in words or a code of the protocol; not for `connecting` and `live`. */
  reason?: string;
  /** The close code. */
  code?: number;
  /** When the next attempt begins, as `Date.now()` counts. */
  retryAt?: number;
  /** Attempts since the last connection that lasted. */
  attempt: number;
}

/** Any frame of the gateway that is no event. */
export interface Frame {
  type: string;
  data: Record<string, any>;
  timestamp: string;
  id?: number | string;
}

export interface Gap {
  /** `history_trimmed`, `log_reset`, `not_recovered`, `cursor_invalid`, or `overflow`: more came than can wait for a
   *  snapshot. */
  reason: string;
}

/** The newest whole value of each item of a room, as events; in the order of their last changes. They stand by their key;
 *  one that other rooms share, by its key and their names (`status project:5`). */
export type Items<E extends object = AnyEvents> = ReadonlyMap<string, GatewayEvent<E>>;

/** A room's items as of a cursor, as `GET /rooms/{room}/state` answers. With `next` it is one page of several. */
export interface StateSnapshot<E extends object = AnyEvents> {
  readonly cursor: string;
  readonly next?: string | null;
  readonly items: readonly GatewayEvent<E>[];
}

/** `joining`: the gateway has not answered yet. `loading`: a snapshot is awaited, the first or after a gap. `live`: all is
 *  there. `closed`: by hand, or refused, or revoked: see the reason. */
export type RoomState = 'joining' | 'loading' | 'live' | 'closed';

export interface RoomStateChange {
  state: RoomState;
  /** The reason of a `closed` that was not by hand: the code of a refusal, or the cause of a revocation. */
  reason?: string | undefined;
  /** The gateway's words, where it refused. */
  message?: string | undefined;
}

export interface RoomOptions<E extends object = AnyEvents, S = any> {
  /** Loads what the room's page shows, as of `cursor` or later; events after that are delivered when it has. Called
   *  again after each gap, with jitter, and with backoff where it fails. `signal` ends one that was overtaken. */
  load?: (cursor: string, signal: AbortSignal) => S | Promise<S>;
  /** Gets what `load` resolved to, unless a newer load has begun. Replace all that the page shows by it. */
  onLoad?: (snapshot: S) => void;
  /** Keeps the room's items: the gateway gives their newest values, and again after each gap. */
  state?: boolean;
  /** With `state`: the items to begin with, from server-side rendering. If the room is opened before the client's first
   *  connection, that goes on from the snapshot's cursor; of several rooms, for those with the cursor of the first one.
   *  In any other case, and where the snapshot is one page of several, the items are asked for as without it. */
  initial?: StateSnapshot<E>;
  /** All items, after any of them has changed. */
  onItems?: (items: Items<E>) => void;
  /** Each event of the room, once, in log order, from when it is joined on. */
  onEvent?: (event: GatewayEvent<E>) => void;
  /** Events of the room were lost. `load` and `state` mend it; without them, load the state again. */
  onGap?: (gap: Gap) => void;
  onState?: (change: RoomStateChange) => void;
  /** The users in the room, at first and after each change. */
  onPresence?: (users: string[]) => void;
}

/** A room as one part of the application follows it. */
export interface Room<E extends object = AnyEvents> {
  readonly name: string;
  readonly state: RoomState;
  /** With `state: true`; the same object until one changes. */
  readonly items: Items<E>;
  /** Loads again, as after a gap. */
  reload(): void;
  /** Ends this listener; the client leaves the room with the last one. */
  close(): void;
}

export interface Presence {
  room: string;
  users: { user_id: string; connections: number }[];
  connections: number;
}

export interface Published {
  event_id: string;
  /** The log had the event already, by its `idempotency_key`. */
  duplicate: boolean;
}

/** How current the client is, by the gateway's clock. */
export interface Freshness {
  /** Everything up to then has been received. */
  asOf: Date | undefined;
  /** Milliseconds since. */
  age: number | undefined;
  /** Not connected, no event or mark for longer than `staleAfter`, or the gateway's log does not answer. */
  stale: boolean;
}

/** A WebSocket's constructor: the browser's, Node's from 22 on, or that of the package `ws`. */
export type WebSocketConstructor = new (url: string, protocols?: string[]) => Socket;

/** The part of a WebSocket that the client uses. */
export interface Socket {
  readonly readyState: number;
  onmessage: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
  send(text: string): void;
  close(): void;
}

export interface Options<E extends object = AnyEvents> {
  /** The WebSocket's URL: http(s) or ws(s), absolute, or relative to the page. */
  url: string | URL;
  /** A function is called again for a fresh one. Without any, the browser's cookies authenticate. */
  token?: string | (() => string | Promise<string>);
  /** `subprotocol` (default): in no URL. `query`: where a proxy drops subprotocols. */
  tokenIn?: 'subprotocol' | 'query';
  /** Another way to connect, tried in turn where a WebSocket gets no answer: `eventStream` of `gathering-gateway/sse`. */
  fallback?: (options: Options, query: Record<string, string | undefined>, token: string | undefined) => Socket;
  /** A label for people, at most 64 characters. */
  clientId?: string;
  /** The constructor where the platform has no global one, as Node 20: `import { WebSocket } from 'ws'`. */
  WebSocket?: WebSocketConstructor;
  /** Rooms to join for `onEvent`, besides those of `room()`. */
  rooms?: Iterable<string>;
  /** A cursor to resume from, such as `client.cursor` that an earlier page saved. */
  since?: string;
  /** Each event of every room, once. Synchronous: when it returns, the event counts as handled. */
  onEvent?: (event: GatewayEvent<E>) => void;
  /** Events of some room were lost. Called before any later event. */
  onGap?: (gap: Gap) => void;
  onState?: (change: StateChange) => void;
  /** Refusals and failures that no promise reports, and what callbacks throw. */
  onError?: (error: Error | GatewayError) => void;
  /** Each frame that is not an event. */
  onFrame?: (frame: Frame) => void;
  /** Milliseconds without an event or a mark after which `freshness.stale` is true; 40,000 unless given. */
  staleAfter?: number;
  /** In place of `Math.random`, for tests. */
  random?: () => number;
}
