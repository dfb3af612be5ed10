import assert from 'node:assert/strict';
import { test } from 'node:test';

import { busiest, percentile, rates } from '../../../gateway/web/js/console/rates.js';

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

test('the busiest tenants are those of all nodes, by what they do now', () => {
  const reading = (node, tenants, started = 'a') => ({ node, started_at: started, tenants });
  const earlier = [reading('n1', { acme: { events: 1_000, deliveries: 9_000 }, bolt: { events: 5, deliveries: 5 } }), reading('n2', { bolt: { events: 0, deliveries: 0 } })];
  const before = new Map(earlier.map((node) => [node.node, { node, at: 1_000 }]));
  const now = [
    reading('n1', { acme: { events: 1_000, deliveries: 9_000, connections: 7, waiting: 0 }, bolt: { events: 25, deliveries: 45, connections: 1, waiting: 0.5 } }),
    reading('n2', { bolt: { events: 20, deliveries: 0, connections: 2, waiting: 0.1 }, coil: { events: 9_999, deliveries: 9_999, connections: 9, waiting: 0 } }),
    reading('n3', {}),
  ];
  assert.deepEqual(busiest(now, before, 3_000), [
    { tenant: 'bolt', connections: 3, waiting: 0.5, events: 20, deliveries: 20 },
    { tenant: 'coil', connections: 9, waiting: 0, events: undefined, deliveries: undefined }, // seen for the first time
    { tenant: 'acme', connections: 7, waiting: 0, events: 0, deliveries: 0 },
  ]);
  assert.deepEqual(busiest([reading('n1', { acme: { events: 3, deliveries: 3 } }, 'b')], before, 3_000), [
    { tenant: 'acme', connections: 0, waiting: 0, events: undefined, deliveries: undefined }, // started again
  ]);
  assert.deepEqual(busiest([{ node: 'n1', started_at: 'a' }], before, 3_000), []); // without the scope platform
});
