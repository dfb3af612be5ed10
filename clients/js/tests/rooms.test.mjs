import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { FakeSocket, live, pass, reconnect, seen, settle, start } from './fake.mjs';

const socket = () => FakeSocket.last;

/** A room with the calls of its listener. */
function follow(client, name, options = {}) {
  const calls = [];
  const room = client.room(name, {
    onEvent: (event) => calls.push(event.event_id),
    onState: ({ state, reason }) => calls.push(reason ? `${state}: ${reason}` : state),
    onGap: ({ reason }) => calls.push(`gap: ${reason}`),
    ...options,
  });
  return { room, calls };
}

describe('a room', () => {
  test('opened at once is joined by the URL', async () => {
    const client = await start({ rooms: [] });
    const { calls } = follow(client, 'circle:7');
    await settle();
    assert.equal(socket().param('rooms'), null, 'this one came too late for it');
    const early = await start({ rooms: ['circle:7'] });
    assert.equal(socket().param('rooms'), 'circle:7');
    assert.deepEqual([calls, early.rooms], [[], ['circle:7']]);
  });

  test('opened later is joined by command, with others in one', async () => {
    const client = await live();
    const one = follow(client, 'circle:7');
    const two = follow(client, 'circle:8');
    await settle();
    assert.deepEqual(socket().asked().map(({ rooms }) => rooms), [['circle:7', 'circle:8']]);
    socket().event('evt_0', { circle_id: 7 }); // by another room, before it is joined
    socket().reply('subscribed');
    socket().event('evt_1', { circle_id: 7 }); // with no turn of the loop between
    socket().event('evt_2', { circle_id: 7, project_id: 5 });
    assert.deepEqual(one.calls, ['live', 'evt_1', 'evt_2']);
    assert.deepEqual(two.calls, ['live']);
  });

  test('is joined once however many follow it, and left with the last', async () => {
    const client = await live();
    const [one, two] = [follow(client, 'circle:1'), follow(client, 'circle:1')];
    await settle();
    assert.deepEqual([socket().asked(), one.calls, two.calls], [[], ['live'], ['live']]);
    one.room.close();
    await settle();
    socket().event('evt_1');
    assert.deepEqual([one.calls, two.calls], [['live', 'closed'], ['live', 'evt_1']]);
    assert.deepEqual(socket().asked('unsubscribe'), []);
    const other = follow(client, 'circle:8');
    await settle();
    socket().reply('subscribed');
    other.room.close();
    await settle();
    assert.deepEqual(socket().asked('unsubscribe').map(({ rooms }) => rooms), [['circle:8']]);
    await reconnect();
    assert.equal(socket().param('rooms'), 'circle:1,project:5');
  });

  test('closed and opened again at once changes nothing at the gateway', async () => {
    const client = await live({ rooms: [] });
    follow(client, 'circle:7').room.close();
    const { calls } = follow(client, 'circle:7');
    await settle();
    assert.equal(socket().asked().length, 1);
    socket().reply('subscribed');
    assert.deepEqual(calls, ['live']);
    assert.deepEqual(socket().asked('unsubscribe'), []);
  });

  test('closed before its answer is left after it', async () => {
    const client = await live();
    const { room } = follow(client, 'circle:8');
    await settle();
    room.close();
    await settle();
    assert.deepEqual(socket().asked('unsubscribe'), []);
    socket().reply('subscribed');
    await settle();
    assert.deepEqual(socket().asked('unsubscribe').map(({ rooms }) => rooms), [['circle:8']]);
    assert.deepEqual(client.rooms, ['circle:1', 'project:5']);
  });

  test('that is refused says so, and costs the others nothing', async () => {
    const client = await live();
    const [bad, good] = [follow(client, 'circle:9'), follow(client, 'circle:8')];
    await settle();
    socket().reply('error', { code: 'room_forbidden', message: 'not granted', rooms: ['circle:9'] });
    await settle();
    assert.deepEqual(bad.calls, ['closed: room_forbidden']);
    assert.deepEqual(socket().asked().at(-1).rooms, ['circle:8']);
    socket().reply('subscribed');
    assert.deepEqual(good.calls, ['live']);
    assert.equal(seen.errors[0].code, 'room_forbidden');
    await reconnect();
    assert.equal(socket().param('rooms'), 'circle:1,project:5,circle:8');
  });

  test('that is revoked says so', async () => {
    const client = await live();
    const { calls } = follow(client, 'project:5');
    await settle();
    socket().frame('subscription.revoked', { rooms: ['project:5'], reason: 'project.member.removed' });
    assert.deepEqual(calls, ['live', 'closed: project.member.removed']);
    await reconnect();
    assert.equal(socket().param('rooms'), 'circle:1');
  });

  test('that a fresh token does not grant says so', async () => {
    const client = await live();
    const { calls } = follow(client, 'project:5');
    await settle();
    socket().frame('authenticated', { expires_at: '2030-01-01T00:00:00Z', dropped: ['project:5'] });
    assert.deepEqual(calls, ['live', 'closed: token']);
  });

  test('asked for on a connection that broke is asked for on the next', async () => {
    const client = await live();
    const { calls } = follow(client, 'circle:7');
    await settle();
    await reconnect();
    assert.equal(socket().param('rooms'), 'circle:1,project:5,circle:7');
    socket().subscribed({ recovered: true, replayed: 1 });
    socket().event('evt_1', { circle_id: 7 });
    assert.deepEqual(calls, ['live', 'evt_1']);
  });

  test('that the gateway cannot answer for now is asked for on a later connection', async () => {
    const client = await live();
    follow(client, 'circle:7');
    await settle();
    socket().reply('error', { code: 'broker_unavailable', message: 'no log', retry_after: 1 });
    assert.equal(client.state, 'reconnecting');
    await pass(20_000);
    assert.equal(socket().param('rooms'), 'circle:1,project:5,circle:7');
  });

  test('left while the gateway is away is forgotten with the next attempt', async () => {
    const client = await live();
    const room = client.room('circle:1', { state: true });
    await settle();
    socket().reply('subscribed', { replayed: 0, items: 1 });
    socket().event('evt_1', { circle_id: 1, key: 'a' });
    socket().drop();
    room.close();
    assert.equal(client.room('circle:1', { state: true }).items.size, 1, 'for now it is kept');
    for (const each of [client.room('circle:9', { state: true, initial: { cursor: 'head', items: [{ key: 'a', data: {} }] } })]) {
      assert.equal(each.items.size, 1);
      each.close();
    }
    await pass(20_000);
    assert.equal(client.room('circle:9', { state: true }).items.size, 0);
  });

  test('of many, beyond what a URL carries, is resumed by command', async () => {
    const rooms = Array.from({ length: 99 }, (_, i) => `circle:${'x'.repeat(40)}${i}`);
    const client = await start({ rooms, since: 'evt_7' });
    assert.equal(socket().param('rooms'), null);
    socket().established();
    assert.deepEqual([socket().sent[0].since, socket().sent[0].rooms], ['evt_7', rooms]);
    assert.equal(socket().param('since'), 'evt_7', 'for the own user room');
    socket().frame('subscribed', { rooms: ['user:ada'], cursor: 'head', recovered: true, replayed: 0 });
    socket().event('evt_user', { user_id: 'ada' }); // live, while the replay is still to come
    assert.equal(client.cursor, 'evt_7');
    socket().reply('subscribed', { recovered: true, replayed: 1 });
    socket().event('evt_8');
    assert.equal(client.cursor, 'evt_8');
  });

  test('of all events is `tenant`', async () => {
    const client = await live({ rooms: ['tenant'] });
    const { calls } = follow(client, 'tenant');
    await settle();
    socket().event('evt_1', {});
    socket().event('evt_2', { circle_id: 4 });
    assert.deepEqual(calls, ['live', 'evt_1', 'evt_2']);
  });

  test('gets an event that comes twice on one connection once', async () => {
    const client = await live();
    const { calls } = follow(client, 'circle:1');
    await settle();
    socket().event('evt_1');
    socket().event('evt_1');
    assert.deepEqual([calls, client.duplicates], [['live', 'evt_1'], 1]);
  });

  test('closed by a handler gets nothing more', async () => {
    const client = await live();
    let room;
    const calls = [];
    room = client.room('circle:1', { onEvent: ({ event_id }) => { calls.push(event_id); room.close(); } });
    await settle();
    socket().event('evt_1');
    socket().event('evt_2');
    assert.deepEqual(calls, ['evt_1']);
  });
});

describe('the cursor of marks', () => {
  for (const type of ['stream.mark', 'pong', 'server.draining', 'stream.gap']) {
    test(`of ${type} is a place to resume from`, async () => {
      const client = await live();
      socket().event('evt_5');
      socket().frame(type, { cursor: 'evt_9', reason: 'history_trimmed', reconnect_after_ms: 0 });
      assert.equal(client.cursor, 'evt_9');
      await reconnect();
      assert.equal(socket().param('since'), 'evt_9');
    });
  }

  test('is not ours before the rooms are joined', async () => {
    const client = await start({ since: 'evt_1' });
    socket().established();
    socket().frame('stream.mark', { cursor: 'evt_9' });
    assert.equal(client.cursor, 'evt_1');
  });
});

describe('a gap', () => {
  test('is reported to every room of the connection', async () => {
    const client = await live();
    const { calls } = follow(client, 'circle:1');
    await settle();
    socket().frame('stream.gap', { reason: 'history_trimmed', cursor: 'evt_9' });
    socket().event('evt_10');
    assert.deepEqual(calls, ['live', 'gap: history_trimmed', 'evt_10']);
    assert.equal(seen.gaps.length, 1);
  });

  test('of a resume that could not give all is reported before what it gives', async () => {
    const client = await live();
    const { calls } = follow(client, 'circle:1');
    await settle();
    await reconnect();
    socket().subscribed({ recovered: false, replayed: 1 });
    socket().event('evt_7');
    assert.deepEqual(calls, ['live', 'gap: not_recovered', 'evt_7']);
  });
});

describe('presence', () => {
  test('is who is there at first, then who comes and goes; asked for again on each connection', async () => {
    const client = await live();
    const calls = [];
    client.room('circle:1', { onPresence: (users) => calls.push(users.join()) });
    await settle();
    assert.deepEqual(socket().asked().map(({ rooms, presence }) => [rooms, presence]), [[['circle:1'], true]]);
    socket().reply('presence', { room: 'circle:1', users: [{ user_id: 'ada' }, { user_id: 'bob' }] }, 'presence');
    socket().frame('presence.joined', { room: 'circle:1', user_id: 'cy' });
    socket().frame('presence.left', { room: 'circle:1', user_id: 'bob' });
    socket().frame('presence.left', { room: 'circle:2', user_id: 'ada' });
    assert.deepEqual(calls, ['ada,bob', 'ada,bob,cy', 'ada,cy']);
    await reconnect();
    socket().subscribed({ recovered: true });
    await settle();
    assert.deepEqual(socket().asked()[0].presence, true);
    socket().reply('presence', { room: 'circle:1', users: [{ user_id: 'ada' }] }, 'presence');
    assert.equal(calls.at(-1), 'ada');
  });
});

test('presence that changes while the state of the room is awaited is that of the list to come', async () => {
  const client = await live();
  const calls = [];
  client.room('circle:1', { state: true, onPresence: (users) => calls.push(users.join()) });
  await settle();
  socket().reply('subscribed', { replayed: 0, items: 0 });
  await settle();
  socket().reply('presence', { room: 'circle:1', users: [{ user_id: 'ada' }] }, 'presence');
  socket().frame('stream.gap', { reason: 'log_reset', cursor: 'evt_5' });
  await settle();
  socket().frame('presence.joined', { room: 'circle:1', user_id: 'bob' });
  assert.deepEqual(calls, ['ada']);
  const { id } = socket().asked().at(-1);
  socket().frame('subscribed', { rooms: ['circle:1'], recovered: null, replayed: 0, items: 0 }, { id });
  await settle();
  socket().reply('presence', { room: 'circle:1', users: [{ user_id: 'ada' }, { user_id: 'bob' }] }, 'presence');
  assert.deepEqual(calls, ['ada', 'ada,bob']);
});

describe('history', () => {
  test('brings items again that the state of the room has brought', async () => {
    const client = await live();
    follow(client, 'circle:1', { state: true });
    await settle();
    socket().reply('subscribed', { rooms: ['circle:1'], replayed: 0, items: 1, cursor: 'evt_5' });
    socket().event('evt_3', { circle_id: 1, key: 'k' });
    client.history(2);
    socket().reply('subscribed', { replayed: 2, cursor: 'evt_5' });
    socket().event('evt_2');
    socket().event('evt_3', { circle_id: 1, key: 'k' });
    assert.equal(client.duplicates, 0);
    socket().event('evt_3', { circle_id: 1, key: 'k' });
    assert.equal(client.duplicates, 1);
  });

  test('brings what was before, and moves no cursor', async () => {
    const client = await live();
    const { calls } = follow(client, 'circle:1');
    await settle();
    socket().event('evt_5');
    const reply = client.history(2);
    assert.deepEqual(socket().asked().at(-1), { type: 'subscribe', id: 1, rooms: ['circle:1', 'project:5'], history: 2 });
    socket().reply('subscribed', { replayed: 2, cursor: 'evt_5' });
    assert.equal((await reply).replayed, 2);
    socket().event('evt_1');
    socket().event('evt_2');
    assert.equal(client.cursor, 'evt_5');
    socket().event('evt_6');
    assert.equal(client.cursor, 'evt_6');
    assert.deepEqual(calls, ['live', 'evt_5', 'evt_1', 'evt_2', 'evt_6']);
  });

  test('rejects where it is refused', async () => {
    const client = await live();
    const reply = client.history(1_000);
    socket().reply('error', { code: 'bad_message', message: 'at most 100' });
    await assert.rejects(reply, { code: 'bad_message' });
    assert.deepEqual([client.rooms.length, seen.errors], [2, []]);
  });
});
