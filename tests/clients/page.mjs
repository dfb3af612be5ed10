/**
 * A page around the JavaScript client, for tests: `node page.mjs OPTIONS` tells on standard output, as one JSON array a
 * line, what the client calls back; each line of standard input is `[method, ...arguments]` to call.
 *
 * OPTIONS are those of `connect`, and `cuts`: `[[kind, n], …]` cuts the connection within the n-th callback of that kind
 * and connection, counted from zero for each entry; `tokens`, which a function gives one after the other;
 * `blocked`: no WebSocket gets through, and Server-Sent Events are the fallback; `jitter`: waits are random, as in an
 * application, instead of as short as they can be.
 *
 * A room that is opened with `load` is a page with a snapshot: it asks for one by `["load", [room, n, cursor]]`, gets it by
 * `["loaded", n, snapshot]` or `["failed", n]`, and keeps its numbers as an application would: a snapshot replaces them,
 * an event adds its own unless it is there. `["numbers", [room, numbers]]` tells them after each change.
 */

import { createInterface } from 'node:readline';

import { connect, eventStream } from '../../gateway/web/js/client.js';

const { cuts = [], tokens, blocked, jitter, ...options } = JSON.parse(process.argv[2]);
let count = 0;

const tell = (kind, value) => {
  console.log(JSON.stringify([kind, value]));
  if (kind !== cuts[0]?.[0]) return;
  count += 1;
  if (count < cuts[0][1]) return;
  cuts.shift();
  count = 0;
  client.cut(0);
};

/** A WebSocket in a network that lets none through. */
class Blocked {
  readyState = 3;
  constructor() { queueMicrotask(() => this.onerror?.({})); }
  close() {}
}

const client = connect({
  random: jitter ? Math.random : () => 0,
  ...options,
  ...(blocked && { WebSocket: Blocked, fallback: eventStream }),
  ...(tokens && { token: async () => tokens.shift() }),
  onEvent: (event) => tell('event', [event.event_id, event.data.n]),
  onGap: ({ reason }) => tell('gap', reason),
  onState: ({ state, reason }) => tell('state', [state, reason]),
  onError: ({ code, message }) => tell('error', [code, message]),
  onFrame: ({ type, data }) => {
    if (type === 'subscribed') tell('subscribed', [data.rooms, data.recovered, data.replayed]);
    if (type === 'stream.mark') tell('mark', data.cursor);
  },
});

const rooms = new Map();
const loads = [];

const methods = {
  open(name, { load, state, presence } = {}) {
    let numbers = [];
    const show = (changed) => { numbers = changed; tell('numbers', [name, numbers]); };
    rooms.set(name, client.room(name, {
      load: load && ((cursor) => new Promise((resolve, reject) => tell('load', [name, loads.push({ resolve, reject }) - 1, cursor]))),
      onLoad: show,
      state,
      onItems: (items) => tell('items', [name, Object.fromEntries([...items].map(([key, { data }]) => [key, data]))]),
      onPresence: presence && ((users) => tell('users', [name, users])),
      onEvent: ({ data: { n } }) => {
        if (!load) tell('room event', [name, n]);
        else if (!numbers.includes(n)) show([...numbers, n]);
      },
      onGap: ({ reason }) => tell('room gap', [name, reason]),
      onState: ({ state: now, reason }) => tell('room', [name, now, reason]),
    }));
  },
  loaded: (index, snapshot) => loads[index].resolve(snapshot),
  failed: (index) => loads[index].reject(new Error('the application is down')),
  leave(name) {
    rooms.get(name).close();
    rooms.delete(name);
  },
  publish: (event) => client.publish(event).then(
    (published) => tell('published', published), ({ code }) => tell('not published', code),
  ),
  show: () => tell('show', {
    rooms: client.rooms, cursor: client.cursor, duplicates: client.duplicates, freshness: client.freshness,
  }),
  cut: (ms) => client.cut(ms),
  block: (ms) => setTimeout(() => {
    tell('blocked', ms);
    for (const end = Date.now() + ms; Date.now() < end;);
  }),
};

for await (const line of createInterface({ input: process.stdin })) {
  const [name, ...given] = JSON.parse(line);
  methods[name](...given);
}
client.close();
