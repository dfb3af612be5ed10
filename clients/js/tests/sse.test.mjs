import assert from 'node:assert/strict';
import { mock, test } from 'node:test';

import { eventStream } from '../../../gateway/web/js/client.js';
import { pass, seen, settle, start } from './fake.mjs';

/** A WebSocket in a network that lets none through. */
class Blocked {
  readyState = 3;
  constructor() { queueMicrotask(() => this.onerror?.({})); }
  close() {}
}

/** Response streams are read in tasks, not in microtasks. */
const read = async () => { for (let i = 0; i < 20; i += 1) await new Promise(setImmediate); };

/** A client whose WebSocket was blocked, and whose fallback got `answer`. */
async function fallenBack(answer) {
  const fetched = mock.method(globalThis, 'fetch', async () => answer());
  const client = await start({ rooms: ['circle:1'], WebSocket: Blocked, fallback: eventStream });
  await settle();
  await pass(1_000);
  await read();
  return { client, fetched };
}

test('the slot of server.draining counts from the end of the stream', async () => {
  let stream;
  const frame = (type, data) => {
    const text = JSON.stringify({ type, data, timestamp: new Date().toISOString() });
    stream.enqueue(new TextEncoder().encode(`event: ${type}\ndata: ${text}\n\n`));
  };
  const { client } = await fallenBack(() => new Response(new ReadableStream({ start(controller) { stream = controller; } })));
  frame('connection.established', { cursor: 'head', user_id: 'ada', expires_at: new Date(Date.now() + 3_600_000).toISOString() });
  frame('subscribed', { rooms: ['circle:1'], cursor: 'head', recovered: null, replayed: 0 });
  frame('server.draining', { reconnect_after_ms: 4_000, cursor: 'head' });
  frame('stream.mark', { cursor: 'later', as_of: new Date().toISOString() });
  await read();
  assert.deepEqual([client.state, client.cursor], ['live', 'later']);
  await pass(3_000);
  stream.close();
  await read();
  const { state, code, retryAt } = client.change;
  assert.deepEqual([state, code, retryAt - Date.now()], ['reconnecting', 1012, 4_000]);
  assert.equal(client.cursor, 'later', 'the notice is older than the mark');
  client.close();
});

test('a closed client opens no stream, whatever it asked before', async () => {
  let stream;
  const { client, fetched } = await fallenBack(() => new Response(new ReadableStream({ start(controller) { stream = controller; } })));
  const frame = (type, data) => {
    const text = JSON.stringify({ type, data, timestamp: new Date().toISOString() });
    stream.enqueue(new TextEncoder().encode(`data: ${text}\n\n`));
  };
  frame('connection.established', { cursor: 'head', user_id: 'ada', expires_at: new Date(Date.now() + 3_600_000).toISOString() });
  frame('subscribed', { rooms: ['circle:1'], cursor: 'head', recovered: null, replayed: 0 });
  await read();
  fetched.mock.mockImplementation((url, { signal }) => new Promise((_, reject) => { signal.onabort = () => reject(signal.reason); }));
  for (const name of ['circle:2', 'circle:3']) {
    client.room(name);
    await settle();
  }
  assert.equal(fetched.mock.callCount(), 2, 'one after the other');
  client.close();
  await read();
  assert.deepEqual([client.state, fetched.mock.callCount()], ['closed', 2]);
});

test('the token is in a header, and in no URL', async () => {
  const { client, fetched } = await fallenBack(() => new Response(new ReadableStream()));
  const [url, { headers }] = fetched.mock.calls[0].arguments;
  assert.deepEqual([url.searchParams.has('token'), headers.get('Authorization')], [false, 'Bearer jwt']);
  client.close();
});

for (const [status, problem, ending, code] of [
  [403, 'scope_missing', 'closed', 4403],
  [422, 'bad_message', 'closed', 4400],
  [429, 'rate_limited', 'reconnecting', 1013],
  [503, 'broker_unavailable', 'reconnecting', 1013],
  [500, 'internal_error', 'reconnecting', 1006],
]) {
  test(`a refusal with ${status} is that with ${code}`, async () => {
    const body = JSON.stringify({ code: problem, title: 'refused', detail: 'a reason' });
    const { client, fetched } = await fallenBack(() => new Response(body, { status }));
    assert.deepEqual([client.state, client.change.code, fetched.mock.callCount()], [ending, code, 1]);
    assert.deepEqual(seen.errors.map((error) => error.code), [problem]);
    client.close();
  });
}
