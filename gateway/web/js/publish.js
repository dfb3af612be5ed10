/** The publish form, and the same as code to copy. */

import { copied, dataOf, idOf, quoted } from './drafting.js';
import { eventRow } from './feed.js';

const TYPES = [
  'agent.started', 'agent.stopped', 'agent.task.assigned', 'agent.task.completed', 'agent.task.failed',
  'agent.tool.executed', 'circle.created', 'circle.started', 'circle.stopped', 'circle.member.added',
  'circle.member.removed', 'conversation.message', 'conversation.turn.complete', 'memory.created', 'memory.recalled',
  'memory.shared', 'system.error', 'system.warning', 'task.assigned', 'task.completed', 'task.conflict.detected',
  'task.created', 'task.failed', 'task.started',
];

const SHOWN = 3; // events that were published last
const ABSENT_AFTER = 3_000; // milliseconds without an arrival after which the pane is reported as without it

const $ = (id) => document.getElementById(id);

/** @param {Map<string, import('./pane.js').Pane>} panes by tenant */
export function setUpPublishing(panes) {
  $('event-types').replaceChildren(...TYPES.map((type) => new Option(type, type)));
  $('publish-tenant').replaceChildren(...[...panes.keys()].map((tenant) => new Option(tenant, tenant)));
  const pane = () => panes.get($('publish-tenant').value);
  let chosen = 'curl';
  const preview = () => { $('snippet').textContent = snippets[chosen](pane().grant, draft(), '$TOKEN'); };

  const prefill = () => {
    for (const kind of ['circle', 'project']) {
      const room = pane().grant.rooms.find((name) => name.startsWith(`${kind}:`));
      $(`publish-${kind}`).value = room?.slice(kind.length + 1) ?? '';
    }
    preview();
  };
  $('publish-tenant').addEventListener('change', prefill);
  $('publish-form').addEventListener('input', preview);
  $('publish-form').addEventListener('submit', async (submitted) => {
    submitted.preventDefault();
    await publish(pane());
  });
  for (const button of document.querySelectorAll('[data-snippet]')) {
    button.addEventListener('click', async () => {
      chosen = button.dataset.snippet;
      preview();
      const done = await copied(snippets[chosen](pane().grant, draft(), await pane().grant.current()));
      say('copy-result', done ? 'Copied.' : 'The browser does not let this page copy.', done ? 'good' : 'bad');
    });
  }
  prefill();
  $('publish').hidden = false;
}

async function publish(pane) {
  const button = document.querySelector('[data-testid="publish-submit"]');
  button.disabled = true;
  const began = performance.now();
  try {
    const event = { ...draft(), data: dataOf($('publish-data').value) };
    const reply = await fetch('/events', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${await pane.grant.current()}` },
      body: JSON.stringify(event),
    });
    const body = await reply.json().catch(() => ({}));
    if (!reply.ok) {
      const why = body.detail ?? body.title ?? reply.statusText;
      return say('publish-result', `${reply.status} ${body.code ?? ''}: ${why}`, 'bad');
    }
    showArrival(pane, body, began);
    say('publish-result', `${reply.status} accepted: ${body.event_id}`, 'good');
  } catch (error) {
    say('publish-result', `Not sent: ${error.message}`, 'bad');
  } finally {
    button.disabled = false;
  }
}

/** Shows under the form that the event has arrived: on a phone the pane is far above. */
function showArrival(pane, { event_id: eventId, rooms }, began) {
  const { tenant } = pane.grant;
  say('publish-arrival', '', '');
  const absent = setTimeout(() => {
    say('publish-arrival', `It is in the log, but ${tenant}’s pane is in none of its rooms: ${rooms.join(', ')}.`, '');
  }, ABSENT_AFTER);
  pane.mark(eventId, (event) => {
    clearTimeout(absent);
    say('publish-arrival', `Arrived in ${tenant}’s pane ${Math.round(performance.now() - began)} ms after the click:`, '');
    $('published').hidden = false;
    $('published').prepend(eventRow(event));
    while ($('published').childElementCount > SHOWN) $('published').lastElementChild.remove();
  });
}

/** The event as the form has it; `data` is missing where it is no JSON object. */
function draft() {
  const event = { type: $('publish-type').value.trim() };
  for (const kind of ['circle', 'project']) {
    const id = $(`publish-${kind}`).value.trim();
    if (id) event[`${kind}_id`] = idOf(kind, id);
  }
  try {
    event.data = dataOf($('publish-data').value);
  } catch { /* said when it is published */ }
  return event;
}

const snippets = {
  // "$TOKEN" in double quotes is a shell variable: the text as shown works too, once TOKEN is set.
  curl: (grant, event, token) => `curl -sS ${quoted(`${location.origin}/events`)} \\
  -H ${token === '$TOKEN' ? '"Authorization: Bearer $TOKEN"' : quoted(`Authorization: Bearer ${token}`)} \\
  -H 'Content-Type: application/json' \\
  -d ${quoted(JSON.stringify(event))}
`,
  js: (grant, event, token) => `const { connect } = await import('${location.origin}/web/js/client.js');

const client = connect({
  url: '${grant.url}',
  token: '${token}', // or a function that fetches a fresh one
  rooms: ${JSON.stringify(grant.rooms)},
  onEvent: (event) => console.log(event.type, event.data),
});
// Works in the console of this page. In a page of yours: copy client.js,
// and name its origin in GATEWAY_ALLOWED_ORIGINS.
`,
  python: (grant, event, token) => `import asyncio, json
from websockets.asyncio.client import connect  # pip install websockets

URL = "${grant.url}?rooms=${grant.rooms.join()}"
TOKEN = "${token}"

async def main():
    async with connect(URL, additional_headers={"Authorization": f"Bearer {TOKEN}"}) as socket:
        async for frame in socket:
            print(json.loads(frame))

asyncio.run(main())
`,
};

function say(id, text, tone) {
  $(id).textContent = text;
  $(id).dataset.tone = tone;
}
