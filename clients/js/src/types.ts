/** The public types: events, options, states. */

import type { GatewayError } from './errors.js';

/** An id of the application, 7 or "7". */
export type Id = number | string;

/** Event types with the shape of their `data`: `interface Events { 'task.completed': { task: number } }`. */
// eslint-disable-next-line -- any: without a map, data is what the application knows it to be
export type AnyEvents = Record<string, Record<string, any>>;

/** One event as it came. `key` and `op` stand in events of an item. */
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

/** The events of a map, told apart by their `type`. */
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
  // eslint-disable-next-line -- any: each type has its own
  data: Record<string, any>;
  timestamp: string;
  id?: number | string;
}

export interface Gap {
  /** `history_trimmed`, `log_reset`, `not_recovered`, `cursor_invalid`, `overflow`. */
  reason: string;
}

export interface Subscribed {
  rooms: string[];
  /** true: nothing is missing. false: something is, and `onGap` is called too. null: there was nothing to resume. */
  recovered: boolean | null;
  replayed: number;
}

/** How to subscribe: from which place on, with how much of the past. */
export interface How {
  since?: string;
  /** The newest events, at most 100. */
  history?: number;
  /** The newest value of each item. */
  state?: boolean;
  /** Tell who joins and leaves. */
  presence?: boolean;
}

/** A WebSocket's constructor: the browser's, Node's from 22 on, or that of the package `ws`. */
export type WebSocketConstructor = new (url: string, protocols?: string[]) => Socket;

/** What the client uses of a WebSocket; a transport of another kind has the same. */
export interface Socket {
  readonly readyState: number;
  // eslint-disable-next-line -- any: each library has its own event class
  onmessage: ((event: any) => void) | null;
  // eslint-disable-next-line
  onclose: ((event: any) => void) | null;
  // eslint-disable-next-line
  onerror: ((event: any) => void) | null;
  send(text: string): void;
  close(): void;
}

export interface Options<E extends object = AnyEvents> {
  /** Of the WebSocket: http(s) or ws(s), absolute, or relative to the page. */
  url: string | URL;
  /** A function is called again for a fresh one. Without any, the browser's cookies authenticate. */
  token?: string | (() => string | Promise<string>);
  /** `subprotocol` (default): in no URL. `ticket`: exchanged for a one-time ticket by `POST /tickets`. `query`. */
  tokenIn?: 'subprotocol' | 'ticket' | 'query';
  /** A label for people, at most 64 characters. */
  clientId?: string;
  /** Where there is no global one, as in Node 20: `import { WebSocket } from 'ws'`. */
  WebSocket?: WebSocketConstructor;
  /** Rooms for `onEvent`, joined now and after each reconnect; `*` stands for all that the token names outright. */
  rooms?: Iterable<string>;
  /** A cursor to resume from, such as `client.cursor` that an earlier page saved. */
  since?: string;
  /** Each event of every room, once, in log order. Synchronous: when it returns, the event counts as handled. */
  onEvent?: (event: GatewayEvent<E>) => void;
  /** Events were lost: load the state anew. Called before any later event. */
  onGap?: (gap: Gap) => void;
  onState?: (change: StateChange) => void;
  onSubscribed?: (data: Subscribed) => void;
  /** Refusals and failures that no promise reports, and what callbacks throw. */
  onError?: (error: Error | GatewayError) => void;
  /** Each frame that is not an event. */
  onFrame?: (frame: Frame) => void;
  /** In place of `Math.random`, for tests. */
  random?: () => number;
}
