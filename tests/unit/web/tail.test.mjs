import assert from 'node:assert/strict';
import { test } from 'node:test';

import { tailSocket } from '../../../gateway/web/js/console/tail.js';

globalThis.document = { visibilityState: 'visible' };

const turn = () => new Promise((resolve) => { setImmediate(resolve); });

/** A socket of pages that are answered by hand, and the frames that it has given. */
function opened() {
  const asked = [];
  const frames = [];
  const Socket = tailSocket((after) => new Promise((answer, refuse) => { asked.push({ after, answer, refuse }); }), { user_id: 'root' });
  const socket = new Socket('http://gateway/');
  socket.onmessage = ({ data }) => frames.push(JSON.parse(data));
  const page = { events: [], cursor: 'c1', as_of: '2026-01-01T00:00:00Z' };
  return { socket, asked, types: () => frames.map(({ type }) => type), frames, page };
}

test('a ping is answered by the next page, and by nothing else', async (context) => {
  context.mock.timers.enable({ apis: ['setTimeout'] });
  const { socket, asked, types, frames, page } = opened();
  asked.shift().answer(page);
  await turn();
  assert.deepEqual(types(), ['connection.established', 'stream.mark']);
  context.mock.timers.tick(1_000); // the next page is asked for, and does not come
  socket.send(JSON.stringify({ type: 'ping', id: 'p1' }));
  context.mock.timers.tick(60_000);
  await turn();
  assert.equal(types().includes('pong'), false);
  asked.shift().answer(page);
  await turn();
  const { id, data } = frames.at(-1);
  assert.deepEqual([types().at(-1), id, data], ['pong', 'p1', { cursor: 'c1', as_of: page.as_of }]);
  socket.close();
});

test('a hidden page asks for nothing but the answer to a ping', async (context) => {
  context.mock.timers.enable({ apis: ['setTimeout'] });
  const { socket, asked, page } = opened();
  asked.shift().answer(page);
  await turn();
  document.visibilityState = 'hidden';
  context.mock.timers.tick(1_000);
  await turn();
  assert.equal(asked.length, 0);
  socket.send(JSON.stringify({ type: 'ping', id: 'p1' }));
  context.mock.timers.tick(1_000);
  assert.equal(asked.length, 1);
  document.visibilityState = 'visible';
  socket.close();
});
