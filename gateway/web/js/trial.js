/** "Publish this", and the events of a room as they come. The token is kept in this page alone. */

import { connect } from './client.js';
import { dataOf, fieldsOf } from './drafting.js';
import { element } from './element.js';
import { eventRow } from './feed.js';

const SHOWN = 50;

const $ = (id) => document.getElementById(id);

export class Trial {
  #client;
  #reference;

  /** @param {import('./socket.js').SocketReference} reference */
  constructor(reference) {
    this.#reference = reference;
    const types = new Map(reference.published().map((each) => [each.type, each]));
    $('trial-types').replaceChildren(...[...types.keys()].map((type) => new Option(type, type)));
    $('trial-type').addEventListener('change', () => this.#prefill(types.get($('trial-type').value)));
    $('trial-publish').addEventListener('submit', (submitted) => { submitted.preventDefault(); this.#publish(); });
    $('trial-grant').addEventListener('submit', (submitted) => { submitted.preventDefault(); this.#follow(); });
    $('trial-follow').addEventListener('submit', (submitted) => { submitted.preventDefault(); this.#follow(); });
    if (types.size) $('trial-type').value = [...types.keys()][0];
    this.#prefill(types.get($('trial-type').value));
    this.#signIn();
  }

  /** In development mode the gateway has tokens for this page. */
  async #signIn() {
    const reply = await fetch('/dev/session', { method: 'POST', headers: JSON_BODY, body: '{}' });
    if (!reply.ok) return;
    const [{ token, rooms }] = (await reply.json()).tenants;
    $('trial-token').value = token;
    $('trial-room').value = rooms[0];
  }

  #prefill(known) {
    if (known) $('trial-data').value = JSON.stringify(this.#reference.schemas.sample(known.data), null, 2);
  }

  async #publish() {
    try {
      const event = { type: $('trial-type').value.trim(), data: dataOf($('trial-data').value), ...fieldsOf($('trial-room').value.trim()) };
      const reply = await fetch('/events', {
        method: 'POST',
        headers: { ...JSON_BODY, Authorization: `Bearer ${$('trial-token').value.trim()}` },
        body: JSON.stringify(event),
      });
      const answer = await reply.json();
      const words = reply.ok ? `${reply.status}: ${answer.event_id}` : `${reply.status} ${answer.code}: ${answer.detail}`;
      say('trial-result', words, reply.ok ? 'good' : 'bad');
    } catch (error) {
      say('trial-result', `Not sent: ${error.message}`, 'bad');
    }
  }

  #follow() {
    this.#client?.close();
    $('trial-tail').replaceChildren();
    const url = new URL(this.#reference.channel.address, location.href.replace(/^http/, 'ws'));
    const room = $('trial-room').value.trim();
    this.#client = connect({
      url: url.href, token: $('trial-token').value.trim(), clientId: 'docs',
      onState: ({ state, reason }) => say('trial-state', reason ? `${state}: ${reason}` : state, state === 'closed' ? 'bad' : ''),
    });
    this.#client.room(room, {
      onEvent: (event) => this.#show(eventRow(event)),
      onGap: ({ reason }) => this.#show(element('li', { class: 'gap' }, `Events are missing here (${reason})`)),
      onState: ({ state, reason }) => { if (reason) say('trial-state', `${room} ${state}: ${reason}`, 'bad'); },
    });
  }

  #show(row) {
    $('trial-tail').prepend(row);
    while ($('trial-tail').childElementCount > SHOWN) $('trial-tail').lastElementChild.remove();
  }
}

const JSON_BODY = { 'Content-Type': 'application/json' };

function say(id, text, tone) {
  $(id).textContent = text;
  $(id).dataset.tone = tone;
}
