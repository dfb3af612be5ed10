/**
 * A page around the browser client, for tests: `node page.mjs OPTIONS` tells on standard output, as one JSON array a
 * line, what the client calls back; each line of standard input is `[method, ...arguments]` to call.
 *
 * OPTIONS are those of `connect`, and `cuts`: `[[kind, n], …]` cuts the connection within the n-th callback of that kind
 * and connection, counted anew for each entry.
 */

import { createInterface } from 'node:readline';

import { connect } from '../../gateway/web/js/client.js';

const { cuts = [], ...options } = JSON.parse(process.argv[2]);
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

const client = connect({
  random: () => 0,
  ...options,
  onEvent: (event) => tell('event', [event.event_id, event.data.n]),
  onGap: ({ reason }) => tell('gap', reason),
  onSubscribed: ({ rooms, recovered, replayed }) => tell('subscribed', [rooms, recovered, replayed]),
  onState: ({ state, reason }) => tell('state', [state, reason]),
  onError: ({ code, message }) => tell('error', [code, message]),
  onFrame: ({ type, data }) => type.startsWith('presence.') && tell(type, data),
});

for await (const line of createInterface({ input: process.stdin })) {
  const [name, ...given] = JSON.parse(line);
  if (name === 'show') tell('show', { rooms: client.rooms, cursor: client.cursor, duplicates: client.duplicates });
  else Promise.resolve(client[name](...given)).then(() => tell('done', name), ({ code }) => tell('refused', [name, code]));
}
client.close();
