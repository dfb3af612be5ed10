import assert from 'node:assert/strict';
import { test } from 'node:test';

import { percentile, rates } from '../../../gateway/web/js/console/rates.js';

const status = (counts) => ({ started_at: 'a', deliveries: 0, events: 0, cpu_seconds: 0, ...counts });

test('rates are what was counted between two readings', () => {
  const before = status({ deliveries: 100, refusals: { token_invalid: 3 } });
  const now = status({ deliveries: 400, events: 30, cpu_seconds: 1.5, refusals: { token_invalid: 9, rate_limited: 3 } });
  const found = rates(before, now, 3);
  assert.equal(found.deliveries, 100);
  assert.equal(found.events, 10);
  assert.equal(found.cpu, 0.5);
  assert.deepEqual(found.refusals, { token_invalid: 2, rate_limited: 1 });
});

test('a node that was started again has no rate yet', () => {
  assert.equal(rates(status({ deliveries: 400 }), { ...status({ deliveries: 3 }), started_at: 'b' }, 3), undefined);
  assert.equal(rates(status(), status(), 0), undefined);
});

test('a percentile is the end of the bucket that holds it, of the samples since the reading before', () => {
  const before = { 0.001: 90, 0.01: 0, 0.1: 0, '+Inf': 0 };
  assert.equal(percentile({ ...before, 0.01: 100 }, before, 0.99), '≤ 10 ms');
  assert.equal(percentile({ ...before, 0.01: 98, 0.1: 2 }, before, 0.99), '≤ 100 ms');
  assert.equal(percentile({ ...before, '+Inf': 1 }, before, 0.99), '> 0.1 s');
  assert.equal(percentile(before, before, 0.99), undefined);
  assert.equal(percentile(before, undefined, 0.99), undefined);
});
