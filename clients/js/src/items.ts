/** Items: what keyed events set, append to and delete, as a map of their newest whole values. */

import type { AnyEvents, GatewayEvent, StateSnapshot } from './types.js';

const MAX_ITEMS = 10_000; // as many as the gateway keeps; the least recently changed are evicted

/** The rooms that an event's ids name, as the gateway routes it. */
export function roomsOf(event: object): string[] {
  const rooms: string[] = [];
  for (const [name, id] of Object.entries(event)) {
    const kind = /^(?!event_)([a-z0-9]+)_id$/.exec(name)?.[1]; // not `source_agent_id`
    if (kind && id != null) rooms.push(`${kind}:${id}`);
  }
  return rooms;
}

/** Applies a keyed event to the items of `room`, in place: `set`, `append` and `delete`. For an application that keeps its
 *  own items; `client.room(name, { state: true })` keeps them for it. The map is by key; items that other rooms
 *  share, by key and the names of those rooms, since a key names another item there. */
export function applyEvent<E extends object = AnyEvents>(
  items: Map<string, GatewayEvent<E>>, event: GatewayEvent<E>, room: string,
): void {
  const id = [event.key, ...roomsOf(event).filter((name) => name !== room)].join(' ');
  const before = items.get(id);
  items.delete(id); // the map is in the order of the last changes
  if (event.op === 'delete') return;
  if (event.op === 'append') {
    const data: Record<string, any> = { ...before?.data as object };
    for (const [name, value] of Object.entries(event.data as object)) {
      const old = data[name];
      data[name] = typeof old === 'string' && typeof value === 'string' ? old + value : value;
    }
    event = { ...event, op: 'set', data: data as typeof event.data };
  }
  items.set(id, event);
  if (items.size > MAX_ITEMS) items.delete(items.keys().next().value!);
}

/** The items of a snapshot; none without one. */
export function itemsOf<E extends object>(room: string, snapshot?: StateSnapshot<E>): Map<string, GatewayEvent<E>> {
  const items = new Map<string, GatewayEvent<E>>();
  for (const event of snapshot?.items ?? []) applyEvent(items, event, room);
  return items;
}
