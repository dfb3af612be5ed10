import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Tally, kindOf, roomsOf, summary } from '../../../gateway/web/js/tally.js';

const counts = ({ open, completed, failed }) => [open, completed, failed];
const tell = (tally, ...events) => {
  for (const [type, data, source_agent_id] of events) tally.add({ type, data, source_agent_id }, 0);
};

test('a task is open from its creation to its end, whatever is reported of it in between', () => {
  const tally = new Tally();
  tell(tally, ['task.created', { task_id: 1 }], ['task.started', { task_id: 1 }], ['task.created', { task_id: 2 }]);
  assert.deepEqual(counts(tally), [2, 0, 0]);
  tell(tally, ['task.completed', { task_id: 1 }], ['task.failed', { task_id: 2 }]);
  assert.deepEqual(counts(tally), [0, 1, 1]);
});

test('task.completed and agent.task.completed of one task are one completion', () => {
  const tally = new Tally();
  tell(tally, ['task.completed', { task_id: 1 }], ['agent.task.completed', { task_id: 1 }], ['task.started', { task_id: 1 }]);
  assert.deepEqual(counts(tally), [0, 1, 0]);
});

test('tasks without an id are counted by what task.* says', () => {
  const tally = new Tally();
  tell(tally, ['task.completed', {}], ['agent.task.completed', {}], ['task.completed', null], ['task.failed', {}]);
  assert.deepEqual(counts(tally), [0, 2, 1]);
});

test('agents are active while they do things, and until they stop', () => {
  const tally = new Tally();
  tell(tally, ['agent.started', {}, 1], ['memory.created', {}, 2], ['agent.started', { agent_id: 3 }]);
  assert.equal(tally.agents(0), 3);
  tell(tally, ['agent.stopped', {}, 1]);
  assert.equal(tally.agents(60_000), 2);
  assert.equal(tally.agents(60_001), 0);
});

test('the rate is of the last five whole seconds', () => {
  const tally = new Tally();
  for (let i = 0; i < 10; i += 1) tally.add({ type: 'task.created', data: {} }, 1_500);
  assert.equal(tally.rate(1_900), 0);
  assert.equal(tally.rate(2_000), 2);
  assert.equal(tally.rate(6_999), 2);
  assert.equal(tally.rate(7_000), 0);
});

test('what is replayed counts in the seconds in which it happened', () => {
  const tally = new Tally();
  for (let i = 0; i < 500; i += 1) tally.add({ type: 'agent.started', data: {}, source_agent_id: i }, 1_500);
  tally.add({ type: 'agent.started', data: {}, source_agent_id: 'new' }, 99_500);
  assert.equal(tally.rate(100_000), 0.2);
  assert.equal(tally.agents(100_000), 1);
  assert.equal(tally.received, 501);
});

test('kinds, rooms and summaries are made for people', () => {
  assert.equal(kindOf('agent.task.completed'), 'agent');
  assert.equal(kindOf('system.error'), 'other');
  assert.deepEqual(roomsOf({ circle_id: 0, project_id: 'p', user_id: null }), ['circle:0', 'project:p']);
  assert.deepEqual(roomsOf({}), ['tenant']);
  assert.equal(summary({ task_id: 4, title: 'Plan' }), '#4 · Plan');
  assert.equal(summary({ tool: 'search' }), 'tool: search');
  assert.equal(summary({ depth: { of: 'things' } }), '{"depth":{"of":"things"}}');
  assert.equal(summary({ text: 'x'.repeat(500) }).length, 160);
  for (const odd of [undefined, null, 7, 'text', []]) assert.equal(typeof summary(odd), 'string');
});
