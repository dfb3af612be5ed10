/** The board, for the server and for the page: the tasks of a room, as React renders them. */

import { useSyncExternalStore } from 'react';
import type { GatewayEvent } from 'gathering-gateway';

export interface Events {
  'task.changed': { title: string; done: boolean };
}
type Task = GatewayEvent<Events>;
type Tasks = ReadonlyMap<string, Task>;

/** The tasks: those of the server's snapshot, then with the events after it. */
export class TaskStore {
  readonly snapshot: Tasks;
  current: Tasks;
  #listeners = new Set<() => void>();

  constructor(items: Task[]) {
    this.snapshot = this.current = new Map(items.map((item) => [item.key!, item]));
  }

  apply(event: Task): void {
    const tasks = new Map(this.current);
    if (event.op === 'delete') tasks.delete(event.key!);
    else tasks.set(event.key!, event);
    this.current = tasks;
    for (const listener of this.#listeners) listener();
  }

  subscribe = (listener: () => void) => {
    this.#listeners.add(listener);
    return () => { this.#listeners.delete(listener); };
  };
}

export function Board({ store }: { store: TaskStore }) {
  // Hydration takes the snapshot, as the server did, though events may have come since; then React renders these.
  const tasks = useSyncExternalStore(store.subscribe, () => store.current, () => store.snapshot);
  return <ul>{[...tasks].map(([key, { data }]) => <li key={key}>{data.title}: {data.done ? 'done' : 'open'}</li>)}</ul>;
}
