/** React hooks: rooms, items and the connection of one client, however many components use them. */

import {
  createContext, createElement, useContext, useEffect, useInsertionEffect, useMemo, useRef, useSyncExternalStore, type ReactNode,
} from 'react';
import type { GatewayClient } from './client.js';
import { itemsOf } from './items.js';
import type { AnyEvents, Items, RoomOptions, RoomState, StateChange, StateSnapshot } from './types.js';

const Context = createContext<GatewayClient<any> | undefined>(undefined);

/** Provides the client, made outside of components, for the hooks below it. One that was never opened is opened once their
 *  rooms are known, and not by a server that renders: `<GatewayProvider client={new GatewayClient({…})}>`. */
export function GatewayProvider({ client, children }: { client: GatewayClient<any>; children?: ReactNode }) {
  useEffect(() => { if (!client.change.reason) client.open(); }, [client]); // after the effects of the hooks
  return createElement(Context.Provider, { value: client }, children);
}

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
 *  `onPresence` may not come or go, and of `initial` the first counts. Renders again when the view changes, not with each
 *  event. A server renders, and the page hydrates, the items of `initial`. */
export function useRoom<E extends object = AnyEvents, S = unknown>(name: string, options: RoomOptions<E, S> = {}): RoomView<E> {
  const client = useClient<E>();
  const latest = useRef(options);
  useInsertionEffect(() => { latest.current = options; });
  const store = useMemo(() => follow(client, name, latest), [client, name]);
  return useSyncExternalStore(store.subscribe, store.view, store.first);
}

/** The items of a room, by their keys: what the gateway keeps of its keyed events. `initial` are those of a server-rendered
 *  page. */
export function useItems<E extends object = AnyEvents>(name: string, { initial }: { initial?: StateSnapshot<E> } = {}): Items<E> {
  return useRoom<E>(name, { state: true, initial }).items;
}

function follow<E extends object, S>(client: GatewayClient<E>, name: string, latest: { current: RoomOptions<E, S> }) {
  const { initial } = latest.current;
  const first = initial ? { ...NEW, items: itemsOf(name, initial) } : NEW;
  let view: RoomView<E> = first;
  return {
    first: () => first,
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
        initial,
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
