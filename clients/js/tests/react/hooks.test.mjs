/** The hooks, rendered in StrictMode, which mounts each component twice. `node --test` with the built package as
 *  `gathering-gateway`, so they run where npm is. */

import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';

import { createElement as h, StrictMode } from 'react';
import { act, create } from 'react-test-renderer';

import { connect } from 'gathering-gateway';
import { GatewayProvider, useConnection, useItems, useRoom } from 'gathering-gateway/react';
import { FakeSocket, settle } from '../fake.mjs';

globalThis.IS_REACT_ACT_ENVIRONMENT = true;
const { error } = console;
console.error = (text, ...more) => String(text).includes('react-test-renderer is deprecated') || error(text, ...more);

const socket = () => FakeSocket.last;
let client;
let shown;
let root;

beforeEach(async () => {
  client = connect({ url: 'http://gateway.test/ws/dashboard', token: 'jwt', WebSocket: FakeSocket, random: () => 0.5 });
  await settle();
  socket().established();
  shown = {};
});
afterEach(() => {
  act(() => root.unmount());
  client.close();
});

const render = async (...children) => act(async () => {
  root = create(h(StrictMode, null, h(GatewayProvider, { client }, ...children)));
  await settle();
});

function Connection() {
  shown.connection = useConnection().state;
  return null;
}

function Room({ name, label = name, ...options }) {
  shown[label] = useRoom(name, options).state;
  return null;
}

function Items({ name }) {
  shown.items = useItems(name);
  return null;
}

describe('hooks', () => {
  test('however many follow a room, it is joined once; and left when the last is unmounted', async () => {
    await render(h(Connection), h(Room, { name: 'circle:7', label: 'one' }), h(Room, { name: 'circle:7', label: 'two' }));
    assert.deepEqual(shown, { connection: 'live', one: 'joining', two: 'joining' });
    assert.deepEqual(socket().sent.map(({ type, rooms }) => [type, rooms]), [['subscribe', ['circle:7']]]);
    await act(async () => socket().reply('subscribed'));
    assert.deepEqual(shown, { connection: 'live', one: 'live', two: 'live' });
    await act(async () => root.update(null));
    await settle();
    assert.deepEqual(socket().asked('unsubscribe').map(({ rooms }) => rooms), [['circle:7']]);
    assert.equal(FakeSocket.all.length, 1);
  });

  test('the connection is shown with its changes', async () => {
    await render(h(Connection));
    await act(async () => socket().drop());
    assert.equal(shown.connection, 'reconnecting');
  });

  test('a snapshot is loaded once; events go to the callback of the last render', async () => {
    const calls = [];
    const options = (label) => ({
      name: 'circle:7', load: async (cursor) => `snapshot at ${cursor}`, onLoad: (snapshot) => calls.push(snapshot),
      onEvent: ({ event_id }) => calls.push(`${label} ${event_id}`),
    });
    await render(h(Room, options('first')));
    await act(async () => { socket().reply('subscribed'); await settle(); });
    assert.deepEqual([calls, shown['circle:7']], [['snapshot at head'], 'live']);
    await act(async () => root.update(h(StrictMode, null, h(GatewayProvider, { client }, h(Room, options('second'))))));
    socket().event('evt_1', { circle_id: 7 });
    assert.deepEqual(calls, ['snapshot at head', 'second evt_1']);
    assert.equal(socket().sent.length, 1);
  });

  test('another room’s view does not begin with the old one’s', async () => {
    await render(h(Room, { name: 'circle:7', label: 'room' }));
    await act(async () => socket().reply('subscribed'));
    assert.equal(shown.room, 'live');
    await act(async () => root.update(h(StrictMode, null, h(GatewayProvider, { client }, h(Room, { name: 'circle:8', label: 'room' })))));
    assert.equal(shown.room, 'joining');
  });

  test('items are one object until one of them changes', async () => {
    await render(h(Items, { name: 'circle:7' }));
    assert.equal(shown.items.size, 0);
    await act(async () => {
      socket().reply('subscribed', { items: 1, replayed: 0 });
      socket().frame('gauge', { n: 1 }, { event_id: 'evt_1', circle_id: 7, key: 'a' });
      await settle();
    });
    const before = shown.items;
    assert.deepEqual(before.get('a').data, { n: 1 });
    await act(async () => {
      socket().frame('gauge', { n: 2 }, { event_id: 'evt_2', circle_id: 7, key: 'a' });
      await settle();
    });
    assert.deepEqual([before.get('a').data, shown.items.get('a').data], [{ n: 1 }, { n: 2 }]);
  });

  test('without a provider say what to do', () => {
    const { error: spoken } = console;
    console.error = () => {};
    try {
      assert.throws(() => act(() => { root = create(h(Connection)); }), /GatewayProvider/);
    } finally {
      console.error = spoken;
      act(() => { root = create(null); });
    }
  });
});
