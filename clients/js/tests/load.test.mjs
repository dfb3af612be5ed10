import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { FakeSocket, live, pass, reconnect, seen, settle } from './fake.mjs';

const socket = () => FakeSocket.last;

/** A room with a loader that answers when the test says so; what it showed, in order. */
async function loading(options = {}) {
  const loads = [];
  const calls = [];
  const client = await live(options);
  const room = client.room('circle:1', {
    load: (cursor, signal) => new Promise((resolve, reject) => { loads.push({ cursor, signal, resolve, reject }); }),
    onLoad: (snapshot) => calls.push(snapshot),
    onEvent: ({ event_id }) => calls.push(event_id),
    onGap: ({ reason }) => calls.push(`gap: ${reason}`),
  });
  await settle();
  return { client, room, loads, calls };
}

describe('load', () => {
  test('is asked at a cursor; what came meanwhile is handed on behind it', async () => {
    const { room, loads, calls } = await loading();
    assert.deepEqual([loads.map(({ cursor }) => cursor), room.state], [['head'], 'loading']);
    socket().event('evt_1');
    socket().event('evt_2');
    assert.deepEqual(calls, []);
    loads[0].resolve('snapshot');
    await settle();
    socket().event('evt_3');
    assert.deepEqual([calls, room.state], [['snapshot', 'evt_1', 'evt_2', 'evt_3'], 'live']);
  });

  test('is asked again after a gap, with jitter; the old snapshot is never applied', async () => {
    const { room, loads, calls } = await loading();
    socket().event('evt_1');
    socket().frame('stream.gap', { reason: 'log_reset', cursor: 'evt_5' });
    assert.equal(loads[0].signal.aborted, true);
    loads[0].resolve('old');
    await pass(2_499); // random is 0.5 of 5 s
    socket().event('evt_6'); // is in the snapshot to come
    assert.equal(loads.length, 1);
    await pass(1);
    assert.equal(loads[1].cursor, 'evt_6');
    socket().event('evt_7');
    loads[1].resolve('new');
    await settle();
    assert.deepEqual([calls, room.state], [['gap: log_reset', 'new', 'evt_7'], 'live']);
  });

  test('is asked again after a gap that came when it was done', async () => {
    const { loads, calls } = await loading();
    loads[0].resolve('old');
    await settle();
    socket().event('evt_1');
    await reconnect();
    socket().subscribed({ recovered: false, replayed: 1 });
    socket().event('evt_3');
    await pass(2_500);
    assert.equal(loads[1].cursor, 'evt_3');
    loads[1].resolve('new');
    await settle();
    socket().event('evt_4');
    assert.deepEqual(calls, ['old', 'evt_1', 'gap: not_recovered', 'new', 'evt_4']);
  });

  test('outlives a lost connection: its events are replayed', async () => {
    const { loads, calls } = await loading();
    socket().event('evt_1');
    await reconnect();
    assert.equal(socket().param('since'), 'evt_1');
    socket().subscribed({ recovered: true, replayed: 1 });
    socket().event('evt_2');
    loads[0].resolve('snapshot');
    await settle();
    assert.deepEqual(calls, ['snapshot', 'evt_1', 'evt_2']);
    assert.equal(loads.length, 1);
  });

  test('that fails is tried again with backoff, at the cursor of then', async () => {
    const { loads, calls } = await loading();
    socket().event('evt_1');
    loads[0].reject(new Error('503'));
    await settle();
    assert.equal(seen.errors[0].message, '503');
    await pass(1_000);
    assert.equal(loads[1].cursor, 'evt_1');
    loads[1].resolve('snapshot');
    await settle();
    assert.deepEqual(calls, ['snapshot']);
  });

  test('that falls behind more events than it can keep begins again', async () => {
    const { loads, calls } = await loading();
    for (let i = 0; i <= 10_000; i += 1) socket().event(`evt_${i}`);
    assert.deepEqual(calls, ['gap: overflow']);
    await pass(2_500);
    loads[1].resolve('snapshot');
    await settle();
    assert.deepEqual(calls, ['gap: overflow', 'snapshot']);
  });

  test('of a room that was closed is not applied', async () => {
    const { room, loads, calls } = await loading();
    room.close();
    loads[0].resolve('snapshot');
    await settle();
    assert.deepEqual([calls, room.state, loads[0].signal.aborted], [[], 'closed', true]);
  });

  test('ends with its client, also one that fails; and begins again where that is opened again', async () => {
    const { client, room, loads, calls } = await loading();
    client.close();
    assert.deepEqual([loads[0].signal.aborted, room.state], [true, 'joining']);
    client.open();
    await settle();
    socket().established();
    socket().subscribed({ recovered: true });
    await settle();
    loads[1].reject(new Error('the application is down'));
    await settle();
    client.close();
    await pass(60_000);
    assert.equal(loads.length, 2, 'no timer is left');
    client.open();
    await settle();
    socket().established();
    socket().subscribed({ recovered: true });
    await settle();
    loads[2].resolve('snapshot');
    await settle();
    assert.deepEqual([calls, room.state], [['snapshot'], 'live']);
  });

  test('is called again by hand, and may be synchronous', async () => {
    const client = await live();
    let count = 0;
    const calls = [];
    const room = client.room('circle:1', { load: () => (count += 1), onLoad: (snapshot) => calls.push(snapshot) });
    await settle();
    room.reload();
    await pass(0);
    assert.deepEqual([calls, room.state], [[1, 2], 'live']);
  });

  test('of a second listener holds back its own events only', async () => {
    const { client, loads, calls } = await loading();
    const other = [];
    client.room('circle:1', { onEvent: ({ event_id }) => other.push(event_id) });
    await settle();
    socket().event('evt_1');
    assert.deepEqual([calls, other], [[], ['evt_1']]);
    loads[0].resolve('snapshot');
    await settle();
    assert.deepEqual(calls, ['snapshot', 'evt_1']);
  });

  test('whose snapshot closes the room hands on nothing more', async () => {
    const client = await live();
    const calls = [];
    const room = client.room('circle:1', {
      load: async () => 'snapshot', onLoad: () => room.close(), onEvent: ({ event_id }) => calls.push(event_id),
    });
    await Promise.resolve();
    socket().event('evt_1');
    await settle();
    assert.deepEqual([calls, room.state], [[], 'closed']);
  });
});
