/** The links of a span that processes an event. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { linksOf } from '../../../gateway/web/js/client.js';

test('an event with a trace context has a link to the span that published it', () => {
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
  assert.deepEqual(linksOf({ traceparent }), [{
    context: { traceId: '0af7651916cd43dd8448eb211c80319c', spanId: 'b7ad6b7169203331', traceFlags: 1, isRemote: true },
  }]);
});

test('an event without one has none', () => {
  assert.deepEqual(linksOf({}), []);
});
