/** "Publish this", and the events of a room as they come. The token is kept in this page alone. */

import { administers } from './claims.js';
import { connect } from './client.js';
import { dataOf, fieldsOf } from './drafting.js';
import { element } from './element.js';
import { eventRow } from './feed.js';

const SHOWN = 50;

const $ = (id) => document.getElementById(id);

export class Trial {
  #client;
  #reference;
  #types = new Map();
  #onToken;

  /** @param {(token: string) => unknown} onToken called when another token was entered */
  constructor(onToken) {
    this.#onToken = onToken;
    $('trial-token').addEventListener('change', () => onToken(this.token));
    $('trial-type').addEventListener('change', () => this.#prefill());
    $('trial-publish').addEventListener('submit', (submitted) => { submitted.preventDefault(); this.#publish(); });
    $('trial-grant').addEventListener('submit', (submitted) => { submitted.preventDefault(); this.#follow(); });
    $('trial-token').addEventListener('input', () => { $('console-link').hidden = !administers($('trial-token').value); });
    $('trial-follow').addEventListener('submit', (submitted) => { submitted.preventDefault(); this.#follow(); });
  }

  get token() {
    return $('trial-token').value.trim();
  }

  /** @param {import('./socket.js').SocketReference} reference */
  describe(reference) {
    this.#reference = reference;
    this.#types = new Map(reference.published().map((each) => [each.type, each]));
    $('trial-types').replaceChildren(...[...this.#types.keys()].map((type) => new Option(type, type)));
    if (this.#types.size) $('trial-type').value = [...this.#types.keys()][0];
    this.#prefill();
  }

  /** In development mode the gateway has tokens for this page. */
  async signIn() {
    const reply = await fetch('/dev/session', { method: 'POST', headers: JSON_BODY, body: '{}' });
    if (!reply.ok) return;
    const [{ token, rooms }] = (await reply.json()).tenants;
    $('trial-token').value = token;
    $('console-link').hidden = false;
    $('trial-room').value = rooms[0];
    this.#onToken(token);
  }

  #prefill() {
    const known = this.#types.get($('trial-type').value);
    if (known) $('trial-data').value = JSON.stringify(this.#reference.schemas.sample(known.data), null, 2);
  }

  async #publish() {
    try {
      const event = { type: $('trial-type').value.trim(), data: dataOf($('trial-data').value), ...fieldsOf($('trial-room').value.trim()) };
      const reply = await fetch('/events', {
        method: 'POST',
        headers: { ...JSON_BODY, Authorization: `Bearer ${this.token}` },
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
      url: url.href, token: this.token, clientId: 'docs',
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
