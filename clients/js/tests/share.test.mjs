import assert from 'node:assert/strict';
import { after, afterEach, before, describe, test } from 'node:test';

import { connect, share } from '../../../gateway/web/js/client.js';
import { FakeSocket, pass } from './fake.mjs';
import { Locks } from './locks.mjs';

/** Messages of channels come in tasks, not in microtasks. */
const settle = async () => { for (let i = 0; i < 20; i += 1) await new Promise(setImmediate); };

const given = Object.getOwnPropertyDescriptor(globalThis, 'navigator');
let clients = [];

/** A tab with its client, its connection, and the events that its room got. */
async function tab(room = 'circle:1', options = {}) {
  const events = [];
  const client = connect({
    url: 'http://gateway.test/ws/dashboard', token: 'jwt', rooms: [room], WebSocket: share(FakeSocket), random: () => 0.5,
    onEvent: ({ event_id }) => events.push(event_id), ...options,
  });
  clients.push(client);
  await settle();
  return { client, events, room, socket: opened(room) };
}

function opened(room) {
  const socket = FakeSocket.last;
  socket.established({ tenant: 'acme', rooms: ['circle:*'], subscribed: ['user:ada'] });
  socket.subscribed({ rooms: [room] });
  return socket;
}

/** The tab asks for its place, and gets it. */
async function placed({ socket }, ms = 1_000) {
  await pass(ms);
  socket.frame('pong', { cursor: 'head' }, { id: ' place' });
  await settle();
}

/** The leader joins the rooms of the tab that asks, and answers. */
async function welcomed(leader, cursor = 'place') {
  const { id } = leader.socket.asked().at(-1);
  const [from, , attempt] = id.split(' ');
  leader.socket.frame('subscribed', { rooms: [], recovered: null, replayed: 0 }, { id });
  await settle();
  leader.socket.frame('pong', { cursor }, { id: `${from} place ${attempt}` });
  await settle();
}

/** The tab's own connection has everything up to the leader's place. */
async function joined({ socket }) {
  const { id, since } = socket.asked().at(-1);
  socket.frame('subscribed', { rooms: [], recovered: true, replayed: 0 }, { id });
  socket.frame('pong', { cursor: 'later' }, { id: id.replace('join', 'joined') });
  await settle();
  return since;
}

async function pair(options) {
  const leader = await tab();
  await placed(leader);
  const follower = await tab('circle:2', options);
  await placed(follower);
  await welcomed(leader);
  return { leader, follower };
}

describe('share', () => {
  before(() => Object.defineProperty(globalThis, 'navigator', { value: { locks: new Locks() }, configurable: true }));
  after(() => { if (given) Object.defineProperty(globalThis, 'navigator', given); else delete globalThis.navigator; });
  afterEach(async () => {
    for (const client of clients) client.close();
    clients = [];
    await settle();
  });

  test('a tab follows with its own rooms, and misses nothing that comes meanwhile', async () => {
    const { leader, follower } = await pair();
    leader.socket.event('evt_1', { circle_id: 2 });
    follower.socket.event('evt_1', { circle_id: 2 });
    await settle();
    assert.equal(await joined(follower), 'place');
    leader.socket.event('evt_2', { circle_id: 2 });
    leader.socket.event('evt_3', { circle_id: 1 });
    await settle();
    assert.deepEqual([follower.socket.closedByClient, follower.client.state], [true, 'live']);
    assert.deepEqual([follower.events, leader.events], [['evt_1', 'evt_2'], ['evt_3']]);
    assert.equal(follower.client.duplicates, 0);
  });

  test('frames that concern the connection come to all tabs, those of the leader alone do not', async () => {
    const frames = [];
    const { leader, follower } = await pair({ onFrame: ({ type }) => frames.push(type) });
    await joined(follower);
    frames.length = 0;
    for (const type of ['contract.changed', 'stream.degraded', 'token.expiring', 'stream.restored']) leader.socket.frame(type);
    leader.socket.reply('pong', {}, 'ping');
    await settle();
    assert.deepEqual(frames, ['contract.changed', 'stream.degraded', 'stream.restored']);
  });

  test('what the leader hands on first is kept until then', async () => {
    const { leader, follower } = await pair();
    leader.socket.event('evt_1', { circle_id: 2 });
    await settle();
    assert.deepEqual(follower.events, []);
    await joined(follower);
    assert.deepEqual(follower.events, ['evt_1']);
  });

  test('a keyed event meanwhile may stand for several, so the tab stays by itself for now', async () => {
    const { follower } = await pair();
    follower.socket.event('evt_1', { circle_id: 2, key: 'a' });
    await joined(follower);
    assert.deepEqual([follower.socket.closedByClient, follower.events], [undefined, ['evt_1']]);
  });

  test('commands go over the connection of the leader, and a room is left with its last tab', async () => {
    const { leader, follower } = await pair();
    await joined(follower);
    const presence = follower.client.presence('circle:2');
    await settle();
    const [{ id, room }] = leader.socket.asked('presence');
    leader.socket.frame('presence', { room, users: [], connections: 2 }, { id });
    assert.equal((await presence).connections, 2);
    const own = leader.client.room('circle:2');
    await settle();
    leader.socket.reply('subscribed');
    own.close();
    await settle();
    assert.deepEqual(leader.socket.asked('unsubscribe'), []);
  });

  test('the rooms of a tab that has ended are left, save those that another is in', async () => {
    const { leader, follower } = await pair();
    await joined(follower);
    const third = await tab('circle:2');
    await placed(third);
    await welcomed(leader);
    await joined(third);
    follower.client.close();
    await settle();
    assert.deepEqual(leader.socket.asked('unsubscribe'), []);
    third.client.close();
    await settle();
    assert.deepEqual(leader.socket.asked('unsubscribe').map(({ rooms }) => rooms), [['circle:2']]);
  });

  test('a replay takes a connection of its own, at once', async () => {
    const { follower } = await pair();
    await joined(follower);
    follower.client.room('circle:3', { state: true });
    await settle();
    assert.equal(follower.client.change.retryAt - Date.now(), 0);
    await pass(0);
    assert.notEqual(FakeSocket.last, follower.socket);
    assert.equal(FakeSocket.last.param('since'), 'head');
  });

  test('a leader that has gone leaves the others to connect again', async () => {
    const { leader, follower } = await pair();
    await joined(follower);
    leader.client.close();
    await settle();
    assert.deepEqual([follower.client.state, follower.client.change.code], ['reconnecting', 1012]);
  });

  test('a leader that does not answer is replaced, and connects again', async () => {
    const leader = await tab();
    await placed(leader);
    const other = await tab();
    for (const attempt of [1, 2, 3]) {
      await placed(other, attempt * 1_000);
      await pass(5_000);
      await settle();
    }
    assert.deepEqual([leader.socket.closedByClient, other.socket.closedByClient, other.client.state], [true, undefined, 'live']);
  });

  test('each tab has its own connection where there are no locks', async () => {
    const { locks } = navigator;
    delete navigator.locks;
    const alone = await tab();
    navigator.locks = locks;
    await pass(1_000);
    alone.socket.event('evt_1');
    assert.deepEqual([alone.socket.sent, alone.events], [[], ['evt_1']]);
  });
});
