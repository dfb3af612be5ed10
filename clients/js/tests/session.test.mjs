import assert from 'node:assert/strict';
import { describe, mock, test } from 'node:test';

import { CLOSE_CODES, GatewayClient, backoff, share } from '../../../gateway/web/js/client.js';
import { FakeSocket, live, pass, seen, settle, start } from './fake.mjs';

describe('connecting', () => {
  test('without a token the cookies have to do: a session that ended is asked for again, once', async () => {
    await start({ token: undefined });
    assert.deepEqual([FakeSocket.last.param('token'), FakeSocket.last.protocols], [null, []]);
    FakeSocket.last.established();
    FakeSocket.last.drop(4401, 'token_expired');
    await pass(60_000);
    assert.equal(FakeSocket.all.length, 2);
    FakeSocket.last.drop(4401, 'token_missing');
    await pass(60_000);
    assert.equal(FakeSocket.all.length, 2);
    assert.deepEqual([seen.states.at(-1).state, seen.states.at(-1).code], ['closed', 4401]);
  });

  test('the rooms and the label travel in the query, the token does not', async () => {
    await start({ clientId: 'wall screen' });
    const { url, protocols } = FakeSocket.last;
    assert.equal(url.protocol, 'ws:');
    assert.deepEqual(Object.fromEntries(url.searchParams), { rooms: 'circle:1,project:5', client_id: 'wall screen' });
    assert.deepEqual(protocols, ['gateway.v1', 'gateway.bearer.jwt']);
  });

  test('or the token travels in the query too, where a proxy drops subprotocols', async () => {
    await start({ tokenIn: 'query' });
    assert.equal(FakeSocket.last.param('token'), 'jwt');
    assert.deepEqual(FakeSocket.last.protocols, []);
  });

  test('is live once the gateway says so, not when the socket opens', async () => {
    const client = await start();
    assert.equal(client.state, 'connecting');
    FakeSocket.last.established();
    assert.equal(client.state, 'live');
  });

  test('a gateway that never greets is given up after ten seconds', async () => {
    const client = await start();
    await pass(10_000);
    assert.equal(client.state, 'reconnecting');
    assert.ok(FakeSocket.last.closedByClient);
  });

  test('more rooms than a URL carries are subscribed to by command', async () => {
    const rooms = Array.from({ length: 99 }, (_, i) => `circle:${'x'.repeat(40)}${i}`);
    const client = await start({ rooms, since: 'evt_7' });
    const socket = FakeSocket.last;
    assert.equal(socket.param('rooms'), null);
    socket.established();
    assert.equal(socket.sent[0].type, 'subscribe');
    assert.equal(socket.sent[0].since, 'evt_7');
    assert.deepEqual(socket.sent[0].rooms, rooms);
    assert.equal(socket.param('since'), 'evt_7', 'for the own user room');
    socket.frame('subscribed', { rooms: ['user:ada'], cursor: 'head', recovered: true, replayed: 0 });
    socket.event('evt_user'); // live, while the replay is still to come
    assert.equal(client.cursor, 'evt_7');
    socket.subscribed({ rooms: socket.sent[0].rooms, recovered: true, replayed: 1 }, { id: socket.sent[0].id });
    socket.event('evt_8');
    assert.equal(client.cursor, 'evt_8');
  });

  test('a token function that fails is asked again, with backoff', async () => {
    let calls = 0;
    await start({ token: async () => { calls += 1; if (calls < 3) throw new Error('login is down'); return 'jwt'; } });
    assert.equal(seen.errors[0].message, 'login is down');
    await pass(20_000);
    await pass(20_000);
    assert.equal(calls, 3);
    assert.equal(FakeSocket.all.length, 1);
  });

  test('closing while the token is fetched opens no socket', async () => {
    let give;
    const client = await start({ token: () => new Promise((resolve) => { give = resolve; }) });
    client.close();
    give('jwt');
    await settle();
    assert.equal(FakeSocket.all.length, 0);
    assert.equal(client.state, 'closed');
  });
});

describe('the cursor', () => {
  test('is the last event handled, and a reconnect resumes from it', async () => {
    const client = await live();
    FakeSocket.last.event('evt_1');
    FakeSocket.last.event('evt_2');
    FakeSocket.last.drop();
    await pass(20_000);
    assert.equal(FakeSocket.all.length, 2);
    assert.equal(FakeSocket.last.param('since'), 'evt_2');
    FakeSocket.last.established({ cursor: 'evt_9' });
    assert.equal(client.cursor, 'evt_2', 'the head of the log is ahead of a replay that has not come yet');
    FakeSocket.last.subscribed({ recovered: true, replayed: 2, cursor: 'evt_9' });
    assert.equal(client.cursor, 'evt_2');
    FakeSocket.last.event('evt_3');
    FakeSocket.last.drop(); // in the middle of the replay
    await pass(20_000);
    assert.equal(FakeSocket.last.param('since'), 'evt_3');
  });

  test('is not moved by an event that is still being handled', async () => {
    const during = [];
    const client = await live({ onEvent: () => during.push(client.cursor) });
    FakeSocket.last.event('evt_1');
    assert.deepEqual(during, ['head']);
    assert.equal(client.cursor, 'evt_1');
  });

  test('starts at the gateway’s where no event was seen', async () => {
    await live();
    FakeSocket.last.drop();
    await pass(20_000);
    assert.equal(FakeSocket.last.param('since'), 'head');
  });

  test('moves on after a resume that had nothing to replay, so that quiet rooms stay in the window', async () => {
    const client = await live({ since: 'evt_1' });
    assert.equal(client.cursor, 'evt_1');
    FakeSocket.last.drop();
    await pass(20_000);
    FakeSocket.last.established();
    FakeSocket.last.subscribed({ recovered: true, cursor: 'evt_5' });
    assert.equal(client.cursor, 'evt_5');
  });

  test('frames that arrive after the socket was cut are left to the replay', async () => {
    const client = await live();
    const socket = FakeSocket.last;
    socket.event('evt_1');
    client.cut(1_000);
    socket.event('evt_2');
    assert.deepEqual(seen.events, ['evt_1']);
    assert.equal(client.cursor, 'evt_1');
  });

  test('a handler that throws is reported, and does not stop the flow', async () => {
    const client = await live({ onEvent: () => { throw new Error('bad event'); } });
    FakeSocket.last.event('evt_1');
    assert.equal(seen.errors[0].message, 'bad event');
    assert.equal(client.cursor, 'evt_1');
  });

  test('an unreadable frame is not skipped: the connection starts again from the cursor', async () => {
    const client = await live();
    FakeSocket.last.event('evt_1');
    FakeSocket.last.onmessage({ data: '{"type": ' });
    assert.equal(client.state, 'reconnecting');
    await pass(20_000);
    assert.equal(FakeSocket.last.param('since'), 'evt_1');
  });
});

describe('gaps', () => {
  test('after recovered: false the next resume starts behind the gap', async () => {
    const client = await start({ since: 'old' });
    FakeSocket.last.established();
    FakeSocket.last.subscribed({ recovered: false, cursor: 'evt_9' });
    assert.equal(client.cursor, 'evt_9');
  });

  test('recovered: false is a gap, reported before any later event', async () => {
    const order = [];
    await start({ since: 'old', onGap: () => order.push('gap'), onEvent: () => order.push('event') });
    FakeSocket.last.established();
    FakeSocket.last.subscribed({ recovered: false });
    FakeSocket.last.event('evt_1');
    assert.deepEqual(order, ['gap', 'event']);
  });

  test('stream.gap says where the stream goes on', async () => {
    const client = await live();
    FakeSocket.last.frame('stream.gap', { reason: 'log_reset', cursor: 'evt_new' });
    assert.deepEqual(seen.gaps, [{ reason: 'log_reset' }]);
    assert.equal(client.cursor, 'evt_new');
  });

  test('a cursor that the gateway cannot read is a gap, and the rooms are joined without it', async () => {
    const client = await start({ since: 'nonsense' });
    const socket = FakeSocket.last;
    socket.established();
    socket.frame('error', { code: 'cursor_invalid', message: 'no such cursor' });
    assert.equal(seen.gaps.length, 1);
    assert.equal(client.cursor, 'head');
    assert.deepEqual(socket.sent[0].rooms, ['circle:1', 'project:5']);
    assert.equal(socket.sent[0].since, undefined);
  });
});

describe('close codes', () => {
  test('an error frame ahead of a refusal is reported, and the code decides', async () => {
    const client = await start();
    FakeSocket.last.frame('error', { code: 'rate_limited', message: 'too many handshakes' });
    assert.equal(client.state, 'connecting');
    assert.deepEqual(FakeSocket.last.sent, []);
    FakeSocket.last.drop(4400, 'bad client_id');
    assert.equal(client.state, 'closed');
    assert.equal(seen.errors[0].code, 'rate_limited');
  });

  const codes = (rule) => Object.keys(CLOSE_CODES).map(Number).filter((code) => CLOSE_CODES[code] === rule);

  for (const code of codes('never')) {
    test(`${code} ends it`, async () => {
      const client = await live();
      FakeSocket.last.drop(code, 'why');
      await pass(600_000);
      assert.equal(client.state, 'closed');
      assert.equal(seen.states.at(-1).reason, 'why');
      assert.equal(FakeSocket.all.length, 1);
    });
  }

  for (const code of [1001, 1006, 1009, 1011, 1013, 4408, 4409, 4429, ...codes('slot')]) {
    test(`${code} comes back and resumes`, async () => {
      await live();
      FakeSocket.last.event('evt_1');
      FakeSocket.last.drop(code);
      await pass(20_000);
      assert.equal(FakeSocket.last.param('since'), 'evt_1');
    });
  }

  test('none at all, but an error, counts as a lost connection', async () => {
    const client = await start();
    FakeSocket.last.onerror({});
    assert.deepEqual([client.state, client.change.code], ['reconnecting', 1006]);
    FakeSocket.last.onerror({});
    await pass(20_000);
    assert.equal(FakeSocket.all.length, 2);
  });

  test('4401 asks for a fresh token once', async () => {
    const tokens = ['stale', 'fresh', 'never'];
    const client = await start({ token: async () => tokens.shift() });
    FakeSocket.last.drop(4401, 'token_expired');
    await pass(20_000);
    assert.equal(FakeSocket.last.token, 'fresh');
    FakeSocket.last.drop(4401, 'token_invalid');
    await pass(600_000);
    assert.equal(client.state, 'closed');
    assert.equal(seen.states.at(-1).reason, 'token_invalid');
    assert.equal(FakeSocket.all.length, 2);
  });

  test('a fresh token that was accepted earns the next one its chance', async () => {
    const tokens = ['one', 'two', 'three'];
    await start({ token: async () => tokens.shift() });
    FakeSocket.last.drop(4401, 'token_expired');
    await pass(20_000);
    FakeSocket.last.established();
    FakeSocket.last.drop(4401, 'token_expired');
    await pass(20_000);
    assert.equal(FakeSocket.last.token, 'three');
  });

  test('4401 token_revoked asks for nothing', async () => {
    let calls = 0;
    const client = await live({ token: async () => `jwt${(calls += 1)}` });
    FakeSocket.last.drop(4401, 'token_revoked');
    await pass(600_000);
    assert.equal(client.state, 'closed');
    assert.equal(calls, 1);
  });

  test('4401 ends it where the token is a plain string', async () => {
    const client = await live();
    FakeSocket.last.drop(4401, 'token_expired');
    assert.equal(client.state, 'closed');
  });

  test('a closed client opens again where it was', async () => {
    const client = await live();
    FakeSocket.last.event('evt_1');
    client.close();
    client.open();
    await settle();
    assert.equal(FakeSocket.last.param('since'), 'evt_1');
  });
});

describe('a fallback', () => {
  class Other extends FakeSocket {}
  const kinds = () => FakeSocket.all.map((socket) => (socket instanceof Other ? 'other' : 'websocket'));
  const fallback = () => new Other('http://gateway.test/', []);

  test('takes turns with the WebSocket as long as nothing answers', async () => {
    await start({ fallback });
    for (let i = 0; i < 3; i += 1) {
      FakeSocket.last.drop();
      await pass(20_000);
    }
    assert.deepEqual(kinds(), ['websocket', 'other', 'websocket', 'other']);
  });

  test('that got through is used again; and the WebSocket, if that did', async () => {
    await start({ fallback });
    FakeSocket.last.drop();
    await pass(20_000);
    FakeSocket.last.established();
    FakeSocket.last.drop();
    await pass(20_000);
    assert.deepEqual(kinds(), ['websocket', 'other', 'other']);
    FakeSocket.last.drop();
    await pass(20_000);
    FakeSocket.last.established();
    FakeSocket.last.drop();
    await pass(20_000);
    assert.deepEqual(kinds().slice(3), ['websocket', 'websocket']);
  });

  test('is what there is where the platform has no WebSocket', async () => {
    const { WebSocket: native } = globalThis;
    delete globalThis.WebSocket;
    try {
      const client = await start({ WebSocket: undefined, fallback: (options, query, token) => new FakeSocket(options.url, [`gateway.bearer.${token}`]) });
      FakeSocket.last.established();
      assert.deepEqual([client.state, seen.errors], ['live', []]);
      client.close();
      await start({ WebSocket: share() });
      assert.match(seen.states.at(-1).reason, /^no WebSocket: use Node 22/);
    } finally {
      globalThis.WebSocket = native;
    }
  });

  test('is not for a gateway that answers with a refusal', async () => {
    await start({ fallback });
    FakeSocket.last.drop(1013);
    await pass(20_000);
    assert.deepEqual(kinds(), ['websocket', 'websocket']);
  });
});

describe('the wait before a reconnect', () => {
  test('has full jitter between half a second and twenty', () => {
    assert.equal(backoff(0, () => 0), 500);
    assert.equal(backoff(0, () => 1), 1_000);
    assert.equal(backoff(3, () => 1), 4_500);
    assert.equal(backoff(50, () => 0), 500);
    assert.equal(backoff(50, () => 1), 20_000);
  });

  const waits = () => seen.states.filter(({ state }) => state === 'reconnecting').map(({ retryAt }) => retryAt);

  test('grows with each failure and starts again after a stable connection', async () => {
    await live({ random: () => 1 });
    const wait = async () => {
      FakeSocket.last.drop();
      const ms = waits().at(-1) - Date.now();
      await pass(ms);
      return ms;
    };
    assert.deepEqual([await wait(), await wait(), await wait()], [1_000, 1_500, 2_500]);
    FakeSocket.last.established();
    assert.equal(await wait(), 4_500, 'a connection that dies at once is no success');
    FakeSocket.last.established();
    await pass(10_000);
    assert.equal(await wait(), 1_000);
  });

  test('is the slot that server.draining named', async () => {
    await live();
    FakeSocket.last.frame('server.draining', { reconnect_after_ms: 7_000 });
    await pass(1_000);
    FakeSocket.last.drop(1012);
    assert.equal(waits().at(-1) - Date.now(), 6_000);
  });

  test('is over where the slot has passed, as the gateway ends the connection at it', async () => {
    await live();
    FakeSocket.last.frame('server.draining', { reconnect_after_ms: 1_000 });
    await pass(1_005);
    FakeSocket.last.drop(1012);
    assert.equal(waits().at(-1) - Date.now(), 0);
    await pass(0);
    FakeSocket.last.drop(1012);
    assert.equal(waits().at(-1) - Date.now(), backoff(1, () => 0.5), 'it holds once');
  });

  test('is not over before the retry_after of the error that came first', async () => {
    await start();
    FakeSocket.last.frame('error', { code: 'rate_limited', message: 'at most 30', retry_after: 5 });
    FakeSocket.last.drop(4409, 'at most 30');
    assert.equal(waits().at(-1) - Date.now(), 5_000 + backoff(0, () => 0.5));
    await pass(10_000);
    FakeSocket.last.drop(1013);
    assert.equal(waits().at(-1) - Date.now(), backoff(1, () => 0.5), 'it holds once');
  });

  test('is over when the network comes back, but not when the gateway asked for it', async () => {
    const page = new EventTarget();
    globalThis.addEventListener = page.addEventListener.bind(page);
    globalThis.removeEventListener = page.removeEventListener.bind(page);
    try {
      const client = await live();
      FakeSocket.last.drop();
      page.dispatchEvent(new Event('online'));
      await settle();
      assert.equal(FakeSocket.all.length, 2);
      FakeSocket.last.established();
      FakeSocket.last.drop(1013);
      page.dispatchEvent(new Event('online'));
      await settle();
      assert.equal(FakeSocket.all.length, 2);
      client.close();
    } finally {
      delete globalThis.addEventListener;
      delete globalThis.removeEventListener;
    }
  });
});

describe('a callback', () => {
  test('of a lost connection that closes the client ends it for good', async () => {
    const client = await start({ onState: ({ state }) => { if (state === 'reconnecting') client.close(); } });
    FakeSocket.last.established();
    FakeSocket.last.drop();
    await pass(60_000);
    assert.deepEqual([client.state, FakeSocket.all.length], ['closed', 1]);
  });

  test('of an observer that throws is reported, and costs neither the others nor the reconnect', async () => {
    const client = await live();
    const states = [];
    client.observe(() => { throw new Error('ours'); });
    client.observe(({ state }) => states.push(state));
    FakeSocket.last.drop();
    await pass(20_000);
    assert.deepEqual(states, ['reconnecting', 'connecting']);
    assert.deepEqual([FakeSocket.all.length, seen.errors[0].message], [2, 'ours']);
  });
});

describe('heartbeat', () => {
  test('a gateway that answers is kept', async () => {
    const client = await live();
    for (let i = 0; i < 5; i += 1) {
      await pass(22_500);
      const ping = FakeSocket.last.sent.at(-1);
      assert.equal(ping.type, 'ping');
      FakeSocket.last.frame('pong', {}, { id: ping.id });
      await pass(10_000);
    }
    assert.equal(client.state, 'live');
    assert.equal(FakeSocket.last.sent.length, 5);
  });

  test('one that does not is left without waiting for its close', async () => {
    const client = await live();
    await pass(22_500);
    await pass(10_000);
    assert.equal(client.state, 'reconnecting');
    assert.equal(seen.states.at(-1).reason, 'no answer from the gateway');
  });
});

describe('the token', () => {
  test('is renewed by the auth command when the gateway says that it expires', async () => {
    const tokens = ['one', 'two', 'three'];
    await live({ token: async () => tokens.shift() });
    FakeSocket.last.frame('token.expiring', { expires_at: new Date(Date.now() + 60_000).toISOString() });
    await settle();
    const auth = FakeSocket.last.sent.at(-1);
    assert.deepEqual([auth.type, auth.token], ['auth', 'two']);
    const expires_at = new Date(Date.now() + 3_600_000).toISOString();
    FakeSocket.last.frame('authenticated', { expires_at, dropped: [] }, { id: auth.id });
    await settle();
    FakeSocket.last.drop();
    await pass(20_000);
    assert.equal(FakeSocket.last.token, 'two');
  });

  test('is renewed by an own timer should the gateway say nothing, by the gateway’s clock', async () => {
    const tokens = ['one', 'two'];
    await start({ token: async () => tokens.shift() });
    FakeSocket.last.frame('connection.established',
      { cursor: 'head', subscribed: [], expires_at: '2030-01-01T00:01:00Z' }, { timestamp: '2030-01-01T00:00:00Z' });
    await pass(44_000);
    assert.equal(FakeSocket.last.sent.some(({ type }) => type === 'auth'), false);
    await pass(1_000);
    assert.equal(FakeSocket.last.sent.at(-1).type, 'auth');
  });

  test('that has run out while away is not tried again', async () => {
    const tokens = ['one', 'two'];
    const client = await live({ token: async () => tokens.shift() });
    client.cut(3_700_000); // a laptop asleep
    await pass(3_700_000);
    assert.equal(FakeSocket.last.token, 'two');
  });
});

describe('commands', () => {
  test('a room refused at connect does not cost the others', async () => {
    const client = await start({ since: 'evt_1' });
    const socket = FakeSocket.last;
    socket.established();
    socket.frame('error', { code: 'room_forbidden', message: 'not granted', rooms: ['project:5'] });
    assert.deepEqual(socket.sent[0].rooms, ['circle:1']);
    assert.equal(socket.sent[0].since, 'evt_1');
    assert.equal(seen.errors[0].code, 'room_forbidden');
    assert.deepEqual(client.rooms, ['circle:1']);
    // The gateway resumes the own room all the same; that must not carry the cursor past what circle:1 missed.
    socket.frame('subscribed', { rooms: ['user:ada'], cursor: 'head', recovered: true, replayed: 0 });
    assert.equal(client.cursor, 'evt_1');
    socket.subscribed({ rooms: ['circle:1'], recovered: true, replayed: 1 }, { id: socket.sent[0].id });
    socket.event('evt_2');
    assert.equal(client.cursor, 'evt_2');
    assert.deepEqual(client.rooms, ['circle:1']);
  });

  test('what is never answered times out', async () => {
    const client = await live();
    const reply = client.presence('circle:1');
    mock.timers.tick(10_000);
    await assert.rejects(reply, { code: 'timeout' });
  });

  test('what has no answer when the connection ends is rejected', async () => {
    const client = await live();
    const reply = client.presence('circle:1');
    FakeSocket.last.drop();
    await assert.rejects(reply, { code: 'disconnected' });
  });
});

test('an event that comes twice on one connection is counted, and handed on once', async () => {
  const client = await live();
  FakeSocket.last.event('evt_1');
  FakeSocket.last.event('evt_1');
  assert.deepEqual([client.duplicates, seen.events], [1, ['evt_1']]);
});

test('nothing happens before open()', () => {
  assert.equal(new GatewayClient({ url: 'ws://gateway.test/', token: 'jwt' }).state, 'closed');
  assert.equal(FakeSocket.all.length, 0);
});
