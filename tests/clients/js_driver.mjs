/** The scenarios' driver for the JavaScript client: `node js_driver.mjs OPTIONS`. What it reads and prints is in
 *  clients/scenarios/README.md. */

import { createInterface } from 'node:readline';

import { connect } from '../../gateway/web/js/client.js';

const { url, rooms, token, since, load, clock = 0, chance } = JSON.parse(process.argv[2]);
const now = Date.now.bind(Date);
Date.now = () => now() + clock * 1000;

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const say = (...line) => console.log(JSON.stringify(line));

const askForToken = async () => {
  say('token');
  return (await lines.next()).value;
};

/** The library has no more to do: in place of an exception it says so by its state, or by what became of the room. */
const end = (code) => {
  say('ended', code);
  process.exit(0);
};

const client = connect({
  url: `${url}/ws/dashboard`,
  token: token ?? askForToken,
  rooms: load ? [] : rooms,
  since,
  random: chance === undefined ? undefined : () => chance,
  onEvent: ({ data }) => load || say('event', data.n ?? null),
  onGap: ({ reason }) => load || say('gap', reason),
  onState: ({ state, reason, code = null, retryAt }) => {
    if (state === 'closed') end(code === 4403 ? 'forbidden' : reason);
    else if (state !== 'live') say('state', state, code, retryAt && (retryAt - Date.now()) / 1000); // live is said once the rooms are joined
  },
  onError: ({ code }) => code === 'room_forbidden' && end(code),
  onFrame: ({ type }) => {
    if (type === 'subscribed') say('state', 'live', null);
    else if (type === 'subscription.revoked') end('room_forbidden');
  },
});

if (load) {
  for (const room of rooms) {
    client.room(room, {
      load: async () => 'state',
      onLoad: () => say('snapshot'),
      onEvent: ({ data }) => say('event', data.n ?? null),
    });
  }
}
