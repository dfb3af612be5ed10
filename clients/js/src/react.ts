/** React hooks: rooms, items and the connection of one client, however many components use them. */

import {
  createContext, createElement, useContext, useInsertionEffect, useMemo, useRef, useSyncExternalStore, type ReactNode,
} from 'react';
import type { GatewayClient } from './client.js';
import type { AnyEvents, Items, RoomOptions, RoomState, StateChange } from './types.js';

const Context = createContext<GatewayClient<any> | undefined>(undefined);

/** Provides the client for the hooks below it: `<GatewayProvider client={connect({…})}>`, made outside of components. */
export const GatewayProvider = ({ client, children }: { client: GatewayClient<any>; children?: ReactNode }) =>
  createElement(Context.Provider, { value: client }, children);

export function useClient<E extends object = AnyEvents>(): GatewayClient<E> {
  const client = useContext(Context);
  if (!client) throw new Error('no gateway client here: wrap the application in <GatewayProvider client={…}>');
  return client as GatewayClient<E>;
}

const UNCONNECTED: StateChange = { state: 'connecting', attempt: 0 };

/** The state of the connection, and why; renders again with each change. */
export function useConnection(): StateChange {
  const client = useClient();
  const subscribe = useMemo(() => client.observe.bind(client), [client]);
  return useSyncExternalStore(subscribe, () => client.change, () => UNCONNECTED);
}

/** A room as a component sees it. */
export interface RoomView<E extends object = AnyEvents> {
  readonly state: RoomState;
  /** Of `closed`: the code of the refusal, or why it was revoked. */
  readonly reason?: string | undefined;
  readonly items: Items<E>;
  /** With `onPresence` among the options: the users in the room. */
  readonly users: readonly string[];
}

const NEW: RoomView<any> = { state: 'joining', items: new Map(), users: [] };

/** Follows a room while the component is mounted. The options may change with each render; `load`, `state` and
 *  `onPresence` may not come or go. Renders again when the view changes, not with each event. */
export function useRoom<E extends object = AnyEvents, S = unknown>(name: string, options: RoomOptions<E, S> = {}): RoomView<E> {
  const client = useClient<E>();
  const latest = useRef(options);
  useInsertionEffect(() => { latest.current = options; });
  const store = useMemo(() => follow(client, name, latest), [client, name]);
  return useSyncExternalStore(store.subscribe, store.view, () => NEW);
}

/** The items of a room, by their keys: what the gateway keeps of its keyed events. */
export function useItems<E extends object = AnyEvents>(name: string): Items<E> {
  return useRoom<E>(name, { state: true }).items;
}

function follow<E extends object, S>(client: GatewayClient<E>, name: string, latest: { current: RoomOptions<E, S> }) {
  let view = NEW;
  return {
    view: () => view,
    subscribe(changed: () => void) {
      let mounted = true;
      const show = (change: Partial<RoomView<E>>) => {
        if (!mounted) return;
        view = { ...view, ...change };
        changed();
      };
      const { load, state, onPresence } = latest.current;
      const room = client.room<S>(name, {
        load: load && ((cursor, signal) => latest.current.load!(cursor, signal)),
        onLoad: (snapshot) => latest.current.onLoad?.(snapshot),
        state,
        onItems: (items) => {
          show({ items });
          latest.current.onItems?.(items);
        },
        onEvent: (event) => latest.current.onEvent?.(event),
        onGap: (gap) => latest.current.onGap?.(gap),
        onState: (change) => {
          show({ state: change.state, reason: change.reason });
          latest.current.onState?.(change);
        },
        onPresence: onPresence && ((users) => {
          show({ users });
          latest.current.onPresence?.(users);
        }),
      });
      return () => {
        mounted = false;
        room.close();
      };
    },
  };
}
