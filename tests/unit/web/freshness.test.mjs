import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Freshness } from '../../../gateway/web/js/freshness.js';

const at = (seconds) => new Date(1_000_000_000_000 + seconds * 1000).toISOString();
const ms = (seconds) => 1_000_000_000_000 + seconds * 1000;
const mark = (seconds, data = { cursor: 'evt_1', as_of: at(seconds) }) =>
  ({ type: 'stream.mark', data, timestamp: at(seconds) });

test('the age is that of the newest event or mark', () => {
  const fresh = new Freshness();
  assert.equal(fresh.age(ms(0)), undefined);
  fresh.frame({ type: 'connection.established', data: {}, timestamp: at(0) }, ms(0));
  assert.equal(fresh.age(ms(1)), undefined, 'nothing was said about what is complete');
  fresh.event({ timestamp: at(2) }, ms(2));
  assert.equal(fresh.age(ms(5)), 3000);
  fresh.frame(mark(6), ms(6));
  assert.equal(fresh.age(ms(10)), 4000);
  fresh.event({ timestamp: at(3) }, ms(11)); // of an older part of the log
  assert.deepEqual([fresh.age(ms(11)), fresh.asOf], [5000, ms(6)]);
});

test('a pong counts like a mark only where nothing is owed', () => {
  const fresh = new Freshness();
  fresh.frame({ type: 'pong', data: { as_of: at(5) }, timestamp: at(5) }, ms(5));
  assert.equal(fresh.age(ms(6)), undefined);
  fresh.frame({ type: 'pong', data: {}, timestamp: at(5) }, ms(5));
  assert.equal(fresh.age(ms(6)), undefined);
  fresh.frame({ ...mark(5), type: 'pong' }, ms(5));
  assert.equal(fresh.age(ms(6)), 1000);
});

test('a clock that differs from the gateway\'s makes nothing older or younger', () => {
  for (const ahead of [-3600, 3600]) {
    const fresh = new Freshness();
    fresh.frame({ type: 'connection.established', data: {}, timestamp: at(0) }, ms(ahead));
    assert.equal(fresh.event({ timestamp: at(2) }, ms(ahead + 4)), ms(ahead + 2), 'two seconds late');
    assert.equal(fresh.age(ms(ahead + 4)), 2000);
    fresh.frame(mark(10), ms(ahead + 13)); // a slow frame tells nothing about the clock
    assert.equal(fresh.age(ms(ahead + 13)), 3000);
  }
});

test('an event of the future is of now', () => {
  const fresh = new Freshness();
  fresh.frame({ type: 'connection.established', data: {}, timestamp: at(0) }, ms(0));
  assert.equal(fresh.event({ timestamp: at(99) }, ms(1)), ms(1));
  assert.equal(fresh.age(ms(2)), 1000);
});
