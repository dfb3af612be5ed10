import assert from 'node:assert/strict';
import { test } from 'node:test';

import { dataOf, fieldsOf, quoted } from '../../../gateway/web/js/drafting.js';

test('the room of a draft is a field of the event', () => {
  assert.deepEqual(fieldsOf('circle:7'), { circle_id: 7 });
  assert.deepEqual(fieldsOf('circle:007'), { circle_id: '007' }); // another room than circle:7
  assert.deepEqual(fieldsOf('project:9007199254740993'), { project_id: '9007199254740993' });
  assert.deepEqual(fieldsOf('user:7'), { user_id: '7' });
  assert.deepEqual(fieldsOf('tenant'), {});
  for (const room of ['', 'circle', 'circle:', ':7', 'Circle:7', 'tenant:']) assert.throws(() => fieldsOf(room), /such as circle:7/, room);
});

test('the data of a draft are a JSON object', () => {
  assert.deepEqual(dataOf('{"title": "a"}'), { title: 'a' });
  assert.deepEqual(dataOf(''), {});
  for (const text of ['[]', 'null', '7', '{']) assert.throws(() => dataOf(text), /JSON object/, text);
});

test('a text is one word of a shell', () => {
  assert.equal(quoted("it's $HOME"), "'it'\\''s $HOME'");
});
