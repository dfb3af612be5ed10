/**
 * The pages of a soak, in one process: `node soak_pages.mjs OPTIONS`, with `url` and, by its name, the `token` of each page.
 * It tells `[name, [kind, value]]`, one JSON array a line, of each event's number, of each gap, and of the items of
 * `circle:2` after each change. `load` asks for a snapshot by `["load", index]` and gets it by a line of standard input,
 * `["loaded", index, snapshot]`. Pages whose names begin with `tab` share a connection.
 */

import { createInterface } from 'node:readline';

import { Locks } from '../../clients/js/tests/locks.mjs';
import { connect, eventStream, share } from '../../gateway/web/js/client.js';

Object.defineProperty(globalThis, 'navigator', { value: { locks: new Locks() }, configurable: true });

/** A WebSocket in a network that lets none through. */
class Blocked {
  readyState = 3;
  constructor() { queueMicrotask(() => this.onerror?.({})); }
  close() {}
}

const { url, tokens } = JSON.parse(process.argv[2]);
const loads = [];
const clients = Object.entries(tokens).map(([name, token]) => {
  const tell = (kind, value) => console.log(JSON.stringify([name, [kind, value]]));
  const room = { onEvent: ({ data }) => tell('event', data.n), onGap: ({ reason }) => tell('gap', reason) };
  if (name === 'load') {
    room.load = () => new Promise((resolve) => tell('load', loads.push(resolve) - 1));
    room.onLoad = (newest) => tell('loaded', newest);
  }
  const client = connect({
    url,
    token,
    ...(name === 'blocked' && { WebSocket: Blocked, fallback: eventStream }),
    ...(name.startsWith('tab') && { WebSocket: share() }),
  });
  if (name === 'items') {
    client.room('circle:2', { state: true, onItems: (items) => tell('items', [...items].map(([key, { data }]) => [key, data.n])) });
  } else {
    client.room('circle:1', room);
  }
  return client;
});

for await (const line of createInterface({ input: process.stdin })) {
  const [method, ...given] = JSON.parse(line);
  if (method === 'loaded') loads[given[0]](given[1]);
}
for (const client of clients) client.close();
