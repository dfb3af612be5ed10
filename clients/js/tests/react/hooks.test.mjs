/** The hooks, rendered in StrictMode, which mounts each component twice. `node --test` with the built package as
 *  `gathering-gateway`, so they run where npm is. */

import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';

import { createElement as h, StrictMode } from 'react';
import { renderToString } from 'react-dom/server';
import { act, create } from 'react-test-renderer';

import { connect, GatewayClient } from 'gathering-gateway';
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

function Items({ name, initial }) {
  shown.items = useItems(name, { initial });
  return [...shown.items].map(([key, { data }]) => `${key}=${data.n};`).join('');
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

  describe('with initial items', () => {
    const initial = {
      cursor: 'evt_5', items: [{ type: 'gauge', data: { n: 1 }, event_id: 'evt_1', timestamp: '', circle_id: 7, key: 'a', op: 'set' }],
    };
    const tree = (given) => h(StrictMode, null, h(GatewayProvider, { client: given }, h(Items, { name: 'circle:7', initial })));
    const unopened = () => new GatewayClient({ url: 'http://gateway.test/ws/dashboard', token: 'jwt', WebSocket: FakeSocket });

    test('a server renders them, and connects to nothing', async () => {
      assert.equal(renderToString(tree(unopened())), 'a=1;');
      await settle();
      assert.equal(FakeSocket.all.length, 1);
      act(() => { root = create(null); });
    });

    test('a page begins with them, and its first connection goes on from their cursor', async () => {
      client.close();
      client = unopened();
      await act(async () => { root = create(tree(client)); });
      assert.equal(root.toJSON(), 'a=1;');
      await act(settle);
      assert.deepEqual(['rooms', 'since', 'state'].map((name) => socket().param(name)), ['circle:7', 'evt_5', '1']);
      assert.equal(FakeSocket.all.length, 2);
      socket().established();
      await act(async () => {
        socket().subscribed({ recovered: true, items: 1 });
        socket().frame('gauge', { n: 2 }, { event_id: 'evt_6', circle_id: 7, key: 'a' });
        await settle();
      });
      assert.equal(root.toJSON(), 'a=2;');
    });

    test('a client that was closed by hand stays so', async () => {
      client.close();
      await act(async () => { root = create(tree(client)); });
      assert.deepEqual([client.state, FakeSocket.all.length], ['closed', 1]);
    });
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
