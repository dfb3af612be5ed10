import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { applyEvent, GatewayClient } from '../../../gateway/web/js/client.js';
import { FakeSocket, live, reconnect, settle } from './fake.mjs';

const socket = () => FakeSocket.last;

function item(id, key, data, more = {}) {
  socket().frame('gauge', data, { event_id: id, circle_id: 7, key, ...more });
}

const shown = (items) => Object.fromEntries([...items].map(([key, { data }]) => [key, data]));

/** A room whose state was asked for. */
async function stateful(options = {}) {
  const calls = [];
  const client = await live({ rooms: [] });
  const room = client.room('circle:7', {
    state: true, onItems: (items) => calls.push(shown(items)), onEvent: ({ event_id }) => calls.push(event_id),
    onState: ({ state }) => calls.push(state), ...options,
  });
  await settle();
  return { client, room, calls };
}

/** One whose two items have come. */
async function filled(options) {
  const given = await stateful(options);
  socket().reply('subscribed', { items: 2, replayed: 0 });
  item('evt_1', 'a', { text: 'x' });
  item('evt_2', 'b', { n: 1 });
  await settle();
  given.calls.length = 0;
  return given;
}

describe('items', () => {
  test('are those of the gateway, once all have come', async () => {
    const { client, room, calls } = await stateful();
    assert.deepEqual(socket().asked().map(({ rooms, state }) => [rooms, state]), [[['circle:7'], true]]);
    socket().reply('subscribed', { items: 2, replayed: 0 });
    item('evt_1', 'a', { n: 1 });
    assert.deepEqual([room.items.size, client.cursor], [0, 'head']);
    item('evt_2', 'b', { n: 1 });
    await settle();
    assert.deepEqual(calls, ['live', { a: { n: 1 }, b: { n: 1 } }]);
    assert.equal(client.cursor, 'head', 'older than what other rooms gave');
    item('evt_9', 'a', { n: 2 });
    assert.equal(client.cursor, 'evt_9');
  });

  test('are set, appended to and deleted by what comes', async () => {
    const { room, calls } = await filled();
    const before = room.items;
    item('evt_3', 'a', { text: 'y', n: 1 }, { op: 'append' });
    item('evt_4', 'b', {}, { op: 'delete' });
    item('evt_5', 'c', { text: 'z' }, { op: 'append' });
    assert.deepEqual(shown(room.items), { a: { text: 'xy', n: 1 }, c: { text: 'z' } });
    assert.equal(room.items.get('a').op, 'set');
    assert.deepEqual(shown(before), { a: { text: 'x' }, b: { n: 1 } }, 'the old ones are as they were');
    assert.equal(room.items, room.items, 'the same until one changes');
    await settle();
    assert.deepEqual(calls, ['evt_3', 'evt_4', 'evt_5', { a: { text: 'xy', n: 1 }, c: { text: 'z' } }], 'once');
  });

  test('of one key in several rooms are several', async () => {
    const { room } = await filled();
    item('evt_3', 'a', { n: 5 }, { project_id: 5, user_id: 'ada' });
    assert.deepEqual([...room.items.keys()], ['a', 'b', 'a project:5 user:ada']);
  });

  test('whose replay is cut short are requested again', async () => {
    const { room } = await stateful();
    socket().reply('subscribed', { items: 2, replayed: 0 });
    item('evt_1', 'a', { n: 1 });
    await reconnect();
    assert.equal(socket().param('rooms'), null);
    socket().frame('subscribed', { rooms: ['user:ada'], recovered: true, replayed: 0, cursor: 'evt_20' });
    await settle();
    assert.equal(socket().asked()[0].state, true);
    socket().reply('subscribed', { items: 1, replayed: 0 });
    item('evt_2', 'b', { n: 2 });
    assert.deepEqual(shown(room.items), { b: { n: 2 } });
  });

  test('are resumed with the other rooms, state and all, when they have come', async () => {
    const { room, calls } = await filled();
    item('evt_3', 'a', { text: 'new' });
    await reconnect();
    assert.deepEqual([socket().param('rooms'), socket().param('since'), socket().param('state')], ['circle:7', 'evt_3', '1']);
    socket().subscribed({ recovered: true, items: 1, replayed: 0 });
    item('evt_5', 'b', { n: 7 });
    await settle();
    assert.deepEqual(socket().asked(), []);
    assert.deepEqual(shown(room.items), { a: { text: 'new' }, b: { n: 7 } });
    assert.equal(calls.at(-2), 'evt_5');
  });

  test('are requested again after a gap; the old ones stand until the new are all there', async () => {
    const { room, calls } = await filled();
    socket().frame('stream.gap', { reason: 'log_reset', cursor: 'evt_5' });
    await settle();
    assert.deepEqual([room.state, socket().asked().length], ['loading', 2]);
    socket().reply('subscribed', { items: 1, replayed: 0 });
    assert.deepEqual([...room.items.keys()], ['a', 'b']);
    item('evt_6', 'c', { n: 1 });
    await settle();
    assert.deepEqual([shown(room.items), calls], [{ c: { n: 1 } }, ['loading', 'live', { c: { n: 1 } }]]);
  });

  test('of a replay that a gap has cut short do not count', async () => {
    const { room } = await stateful();
    socket().reply('subscribed', { items: 2, replayed: 0 });
    item('evt_1', 'a', { n: 1 });
    socket().frame('stream.gap', { reason: 'history_trimmed', cursor: 'evt_5' });
    await settle();
    assert.equal(room.state, 'loading');
    socket().reply('subscribed', { items: 0, replayed: 0 });
    assert.deepEqual([room.items.size, room.state], [0, 'live']);
  });

  test('end with a mark, where fewer come than were announced', async () => {
    const { client, room } = await stateful();
    socket().reply('subscribed', { items: 5, replayed: 0 });
    item('evt_1', 'a', { n: 1 });
    socket().frame('stream.mark', { cursor: 'evt_9', as_of: new Date().toISOString() });
    assert.deepEqual([shown(room.items), room.state, client.cursor], [{ a: { n: 1 } }, 'live', 'evt_9']);
  });

  test('of a room that is followed already are asked for; its events go on', async () => {
    const events = [];
    const client = await live({ rooms: [] });
    client.room('circle:7', { onEvent: ({ event_id }) => events.push(event_id) });
    await settle();
    socket().reply('subscribed');
    item('evt_1', 'a', { text: 'x' }, { op: 'append' });
    const room = client.room('circle:7', { state: true });
    await settle();
    assert.deepEqual(socket().asked('unsubscribe'), []);
    socket().reply('subscribed', { items: 1, replayed: 0 });
    item('evt_1', 'a', { text: 'whole x' }, { op: 'set' });
    item('evt_2', 'a', { text: '!' }, { op: 'append' });
    assert.deepEqual([shown(room.items), events, client.duplicates], [{ a: { text: 'whole x!' } }, ['evt_1', 'evt_2'], 0]);
  });

  test('are there at once for the next that asks', async () => {
    const { client } = await filled();
    const calls = [];
    const room = client.room('circle:7', { state: true, onItems: (items) => calls.push([...items.keys()]) });
    await settle();
    assert.deepEqual([room.state, calls, socket().asked().length], ['live', [['a', 'b']], 1]);
  });

  test('are no more than the gateway keeps', async () => {
    const { room } = await filled();
    for (let i = 0; i < 10_000; i += 1) item(`evt_x${i}`, `k${i}`, {});
    assert.deepEqual([room.items.size, room.items.has('a'), room.items.has('k0')], [10_000, false, true]);
  });
});

describe('initial items', () => {
  const snapshot = (cursor) => ({
    cursor,
    items: ['a', 'b'].map((key, i) => (
      { type: 'gauge', data: { text: key }, event_id: `evt_${i}`, circle_id: 7, key, op: 'set', timestamp: '2026-01-15T10:30:00Z' }
    )),
  });
  const options = { url: 'http://gateway.test/ws/dashboard', token: 'jwt', WebSocket: FakeSocket };

  /** A client that was opened once its room was, and is established. */
  async function begun(more = {}) {
    const calls = [];
    const client = new GatewayClient({ ...options, ...more });
    const room = client.room('circle:7', {
      state: true, initial: snapshot('evt_5'), onItems: (items) => calls.push(shown(items)), onGap: ({ reason }) => calls.push(reason),
    });
    assert.deepEqual([shown(room.items), room.state], [{ a: { text: 'a' }, b: { text: 'b' } }, 'joining']);
    client.open();
    await settle();
    socket().established();
    return { client, room, calls };
  }

  test('are there at once, and the first connection goes on from their cursor', async () => {
    const { client, room, calls } = await begun();
    assert.deepEqual(['rooms', 'since', 'state'].map((name) => socket().param(name)), ['circle:7', 'evt_5', '1']);
    socket().subscribed({ recovered: true, items: 2 });
    item('evt_6', 'a', { text: 'A' });
    item('evt_7', 'b', {}, { op: 'delete' });
    await settle();
    assert.deepEqual([shown(room.items), room.state, client.cursor], [{ a: { text: 'A' } }, 'live', 'evt_7']);
    assert.deepEqual([calls.at(-1), socket().asked().length], [{ a: { text: 'A' } }, 0]);
  });

  test('are asked for again where events after them are gone', async () => {
    const { room, calls } = await begun();
    socket().subscribed({ recovered: false, items: 0 });
    await settle();
    assert.deepEqual([calls[0], socket().asked().map(({ state, since }) => [state, since])], ['not_recovered', [[true, undefined]]]);
    socket().reply('subscribed', { items: 1, replayed: 0 });
    item('evt_8', 'c', { n: 1 });
    assert.deepEqual(shown(room.items), { c: { n: 1 } });
  });

  for (const [name, since, joined, next] of [
    ['stand until the state has come, on a connection that is there', undefined, true],
    ['stand until the state has come, where the client has another cursor', 'evt_1', false],
    ['stand until the state has come, of which they are one page', undefined, false, 'evt_1'],
  ]) {
    test(name, async () => {
      const client = new GatewayClient({ ...options, since });
      if (joined) client.open();
      await settle();
      const room = client.room('circle:7', { state: true, initial: { ...snapshot('evt_5'), next } });
      client.open();
      await settle();
      socket().established();
      assert.deepEqual([socket().param('rooms'), socket().param('since')], [null, since ?? null]);
      if (since) socket().subscribed({ recovered: true });
      await settle();
      assert.deepEqual(socket().asked().map(({ state, since: from }) => [state, from]), [[true, undefined]]);
      assert.deepEqual(Object.keys(shown(room.items)), ['a', 'b']);
      socket().reply('subscribed', { items: 1, replayed: 0 });
      item('evt_8', 'c', { n: 1 });
      assert.deepEqual(shown(room.items), { c: { n: 1 } });
    });
  }
});

test('an application may keep items of its own', () => {
  const items = new Map();
  const apply = (key, op, data) => applyEvent(items, { type: 'run.output', key, op, data, circle_id: 7 }, 'circle:7');
  apply('a', 'append', { text: 'x', n: 1 });
  apply('b', 'set', { n: 1 });
  apply('a', 'append', { text: 'y', n: 2 });
  assert.deepEqual([...items].map(([key, { op, data }]) => [key, op, data]), [['b', 'set', { n: 1 }], ['a', 'set', { text: 'xy', n: 2 }]]);
  apply('b', 'delete', {});
  assert.deepEqual([...items.keys()], ['a']);
});
