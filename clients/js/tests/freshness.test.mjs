import assert from 'node:assert/strict';
import { mock, test } from 'node:test';

import { FakeSocket, live, pass, reconnect, start } from './fake.mjs';

const socket = () => FakeSocket.last;
const at = (seconds) => new Date(Date.UTC(2020, 0, 1, 12, 0, seconds)).toISOString();
/** A frame with the gateway's clock, which is years behind ours. */
const send = (type, data, seconds) => socket().frame(type, data, { timestamp: at(seconds) });

/** A live client with a mark 2 s old. */
async function marked(options) {
  const client = await start(options);
  send('connection.established', { cursor: 'head', user_id: 'ada', expires_at: at(3600) }, 0);
  send('subscribed', { rooms: ['circle:1'], recovered: null, replayed: 0, cursor: 'head' }, 0);
  send('stream.mark', { cursor: 'evt_1', as_of: at(8) }, 10);
  return client;
}

test('nothing is known before the first mark or event', async () => {
  const client = await live();
  assert.deepEqual(client.freshness, { asOf: undefined, age: undefined, stale: true });
});

test('a mark says as of when, and its age is by the gateway’s clock', async () => {
  const client = await marked();
  assert.deepEqual(client.freshness, { asOf: new Date(at(8)), age: 2_000, stale: false });
  await pass(5_000);
  assert.equal(client.freshness.age, 7_000);
});

test('our clock set wrong by an hour in between changes nothing', async () => {
  const client = await marked();
  mock.timers.setTime(Date.now() + 3_600_000);
  performance.now.mock.mockImplementation(() => 1_000);
  assert.equal(client.freshness.age, 3_000);
});

test('an event says it too; one from the future says no more than now', async () => {
  const client = await marked();
  await pass(3_000);
  socket().frame('a.b', {}, { event_id: 'evt_2', circle_id: 1, timestamp: at(12) });
  assert.deepEqual(client.freshness.asOf, new Date(at(12)));
  socket().frame('a.b', {}, { event_id: 'evt_3', circle_id: 1, timestamp: at(5_000) });
  assert.deepEqual([client.freshness.asOf, client.freshness.age], [new Date(at(13)), 0]);
});

test('silence makes it stale, a pong fresh', async () => {
  const client = await marked({ staleAfter: 20_000 });
  await pass(20_000);
  assert.equal(client.freshness.stale, true);
  send('pong', { cursor: 'evt_1', as_of: at(30) }, 30);
  assert.deepEqual([client.freshness.stale, client.freshness.age], [false, 0]);
});

test('a lost connection and a log that does not answer make it stale', async () => {
  const client = await marked();
  send('stream.degraded', { since: at(10) }, 10);
  assert.equal(client.freshness.stale, true);
  send('stream.restored', { since: at(10) }, 11);
  assert.equal(client.freshness.stale, false);
  socket().drop();
  assert.deepEqual([client.freshness.stale, client.freshness.asOf], [true, new Date(at(8))]);
  await pass(400);
  assert.equal(client.freshness.age, 3_400);
  await reconnect();
  assert.equal(client.state, 'live');
});

test('a mark before the rooms are joined says nothing of them', async () => {
  const client = await start();
  send('connection.established', { cursor: 'head', user_id: 'ada', expires_at: at(3600) }, 0);
  send('pong', { cursor: 'evt_1', as_of: at(1) }, 1);
  assert.equal(client.freshness.asOf, undefined);
});
