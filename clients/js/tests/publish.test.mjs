import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { FakeSocket, live, pass, settle, start } from './fake.mjs';

const socket = () => FakeSocket.last;
const draft = { type: 'task.created', data: { n: 1 }, circle_id: 1 };
const published = () => socket().reply('published', { event_id: 'evt_1', duplicate: false }, 'publish');

describe('publish', () => {
  test('resolves when the event is in the log', async () => {
    const client = await live();
    const reply = client.publish(draft);
    await settle();
    const [{ event }] = socket().asked('publish');
    assert.deepEqual({ ...event, idempotency_key: '' }, { ...draft, idempotency_key: '' });
    assert.ok(event.idempotency_key.length > 20 && event.idempotency_key.length <= 128);
    published();
    assert.equal((await reply).event_id, 'evt_1');
  });

  test('waits for the connection, and keeps the order', async () => {
    const client = await start();
    for (const n of [1, 2, 3]) client.publish({ ...draft, data: { n } }).catch(() => {});
    await settle();
    assert.deepEqual(socket().sent, []);
    socket().established();
    await settle();
    assert.deepEqual(socket().asked('publish').map(({ event }) => event.data.n), [1, 2, 3]);
  });

  test('is sent again, with the same key, where the connection broke before the answer', async () => {
    const client = await live();
    const reply = client.publish(draft);
    await settle();
    const [first] = socket().asked('publish');
    socket().drop();
    await pass(20_000);
    socket().established();
    await settle();
    assert.deepEqual(socket().asked('publish')[0].event, first.event);
    published();
    await reply;
  });

  test('waits where the socket has ended and its close event is still to come', async () => {
    const client = await live();
    let looks = 0;
    Object.defineProperty(socket(), 'readyState', {
      get() {
        if ((looks += 1) > 100) throw new Error('asked again and again, which blocks the page');
        return 2;
      },
      set() {},
    });
    const reply = client.publish(draft);
    await settle();
    assert.ok(looks < 10, `${looks}`);
    socket().onclose({ code: 1006, reason: '' });
    await pass(20_000);
    socket().established();
    await settle();
    published();
    assert.equal((await reply).event_id, 'evt_1');
  });

  test('is sent again after an error that passes, not before its retry_after', async () => {
    const client = await live();
    const reply = client.publish({ ...draft, idempotency_key: 'mine' });
    await settle();
    socket().reply('error', { code: 'rate_limited', message: 'slower', retry_after: 3 }, 'publish');
    await settle();
    await pass(3_500);
    assert.equal(socket().asked('publish').length, 1);
    await pass(500);
    assert.deepEqual(socket().asked('publish').map(({ event }) => event.idempotency_key), ['mine', 'mine']);
    published();
    await reply;
  });

  test('rejects with what no later attempt would change', async () => {
    const client = await live();
    const reply = client.publish(draft);
    await settle();
    socket().reply('error', { code: 'room_forbidden', message: 'no', rooms: ['circle:1'] }, 'publish');
    await assert.rejects(reply, { code: 'room_forbidden', rooms: ['circle:1'] });
  });

  test('rejects a message over the limit of the session, and does not send it', async () => {
    const client = await start();
    socket().established({ limits: { message_bytes: 1_024 } });
    const text = (letters) => ({ ...draft, data: { text: letters } });
    await assert.rejects(client.publish(text('é'.repeat(512))), { code: 'message_too_large' });
    assert.deepEqual([socket().sent, client.state], [[], 'live']);
    client.publish(text('é'.repeat(256))).catch(() => {});
    await settle();
    assert.equal(socket().asked('publish').length, 1, 'the limit is in bytes');
  });

  test('does not send the message again that the gateway closed the connection for', async () => {
    const client = await live();
    const large = client.publish({ ...draft, data: { text: 'x'.repeat(70_000) } });
    const small = client.publish(draft);
    await settle();
    assert.equal(socket().asked('publish').length, 2);
    socket().drop(1009);
    await assert.rejects(large, { code: 'message_too_large' });
    await pass(20_000);
    socket().established();
    await settle();
    assert.deepEqual(socket().asked('publish').map(({ event }) => event.data), [draft.data]);
    published();
    await small;
  });

  test('gives up after a minute, while the key is still known', async () => {
    const client = await start();
    const reply = client.publish(draft);
    let rejected = false;
    reply.catch(() => { rejected = true; });
    await pass(59_999);
    assert.equal(rejected, false);
    await pass(1);
    await assert.rejects(reply, { code: 'disconnected' });
  });

  test('of many at once keeps within the rate of the gateway, and leaves room for other commands', async () => {
    const client = await start();
    socket().established({ limits: { commands_per_second: 20, command_burst: 40 } });
    socket().subscribed();
    const replies = Array.from({ length: 60 }, (_, n) => client.publish({ ...draft, data: { n } }));
    await settle();
    assert.equal(socket().asked('publish').length, 21, 'half of the burst is left');
    client.room('circle:9');
    await settle();
    assert.deepEqual(socket().sent.at(-1).rooms, ['circle:9'], 'at once');
    await pass(1_000);
    assert.equal(socket().asked('publish').length, 40, '20 a second, of which the room took one');
    socket().drop();
    await pass(20_000);
    socket().established({ limits: { commands_per_second: 20, command_burst: 40 } });
    await settle();
    for (const second of [1, 2]) await pass(second * 1_000);
    const sent = socket().asked('publish');
    assert.deepEqual(sent.map(({ event }) => event.data.n), Array.from({ length: 60 }, (_, n) => n), 'in order');
    for (const { id } of sent) socket().frame('published', { event_id: 'evt_1', duplicate: false }, { id });
    await Promise.all(replies);
  });

  test('of many at once has a burst of its own on each connection', async () => {
    const client = await start({ random: () => 0 });
    const limits = { commands_per_second: 1, command_burst: 4 };
    socket().established({ limits });
    for (let n = 0; n < 9; n += 1) client.publish(draft).catch(() => {});
    await settle();
    assert.equal(socket().asked('publish').length, 3);
    socket().drop();
    await pass(500);
    socket().established({ limits });
    await settle();
    assert.equal(socket().asked('publish').length, 3);
    client.close();
  });

  test('that waits to be sent again gives up at once where the client is closed', async () => {
    const client = await live();
    const reply = client.publish(draft);
    await settle();
    socket().reply('error', { code: 'rate_limited', message: 'slower', retry_after: 30 }, 'publish');
    await settle();
    client.close();
    await assert.rejects(reply, { code: 'disconnected' });
  });

  test('gives up where the client is closed for good', async () => {
    const client = await start();
    const reply = client.publish(draft);
    await settle();
    socket().drop(4401, 'token_revoked');
    await assert.rejects(reply, { code: 'disconnected' });
  });
});
