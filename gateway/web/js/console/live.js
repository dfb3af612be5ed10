/** Live: the tail of a tenant's log, by the gateway's own client. */

import { connect } from '../client.js';
import { element } from '../element.js';
import { found, fragment, valueOf } from './links.js';
import { bytes } from './now.js';
import { button, counted, field, input, number, outcome, row, rows, say, section, time } from './parts.js';
import { tailSocket } from './tail.js';

const SHOWN = 200; // events in the list

export class LiveView {
  static title = 'Live';
  section;
  #api;
  #client;
  #watched = ''; // what the client follows
  #passedOver = 0;
  #paused = false;
  #waiting = []; // events that came during a pause, the newest SHOWN
  #room = input('live-room', { maxlength: '160', placeholder: 'circle:7' });
  #type = input('live-type', { maxlength: '65', placeholder: 'task.*' });
  #user = input('live-user', { maxlength: '128' });
  #payload = element('input', { type: 'checkbox', 'data-testid': 'live-payload' });
  #watch = button('Watch', 'live-watch', true);
  #pause = button('Pause', 'live-pause');
  #state = element('p', { class: 'pill', 'data-state': 'connecting', 'data-testid': 'live-state' }, 'not watching');
  #line = outcome('live-result');
  #list = rows('Events, newest first', [], 'live-events');

  constructor(api) {
    this.#api = api;
    const form = element('form', { class: 'bar', autocomplete: 'off' }, field('Room', this.#room), field('Type', this.#type), field('User', this.#user),
      element('label', { class: 'check' }, this.#payload, 'Show payloads (audited)'), this.#watch, this.#pause);
    form.addEventListener('submit', (submitted) => {
      submitted.preventDefault();
      const hash = fragment('live', this.#chosen());
      if (location.hash === hash) this.#follow();
      else location.hash = hash;
    });
    this.#payload.addEventListener('change', () => this.#follow());
    this.#pause.setAttribute('aria-pressed', 'false');
    this.#pause.addEventListener('click', () => this.#toggle());
    this.section = section('Live', 'The newest events of the tenant, read once a second: a sample where there are more than 50.',
      form, element('div', { class: 'bar' }, this.#state, this.#line), this.#list);
  }

  show({ room = '', type = '', user_id: user = '' } = {}) {
    [this.#room.value, this.#type.value, this.#user.value] = [room, type, user];
    if (this.#watched !== this.#key() || !this.#client) this.#follow();
  }

  leave() {
    this.#client?.close();
    this.#client = undefined;
  }

  #chosen() {
    const [room, type, user] = [this.#room, this.#type, this.#user].map(({ value }) => value.trim() || undefined);
    return { room, type, user_id: user };
  }

  #key() { return JSON.stringify([this.#api.tenant, this.#chosen(), this.#payload.checked]); }

  #follow() {
    this.leave();
    this.#watched = this.#key();
    this.#passedOver = 0;
    this.#waiting = [];
    this.#list.replaceChildren();
    say(this.#line, '');
    const chosen = { ...this.#chosen(), payload: this.#payload.checked ? '1' : '' };
    this.#client = connect({
      url: `${location.origin}/`,
      WebSocket: tailSocket((after) => this.#api.get('/admin/tail', { ...chosen, after }), { ...this.#api.holder, tenant: this.#api.tenant }),
      onEvent: (event) => this.#add(event),
      onFrame: ({ type, data }) => { if (type === 'tail.sampled') this.#passedOver += data.passed_over; this.#tell(); },
      onGap: () => this.#list.prepend(element('li', { class: 'bad' }, 'The log was reset: events are missing here.')),
      onState: ({ state, reason }) => {
        this.#state.dataset.state = state === 'live' ? 'live' : state === 'closed' ? 'closed' : 'connecting';
        this.#state.textContent = reason && state !== 'live' ? `${state}: ${reason}` : state;
      },
      onError: (error) => say(this.#line, error.message, 'bad'),
    });
  }

  #tell() {
    const { asOf } = this.#client?.freshness ?? {};
    const parts = [asOf && `as of ${asOf.toLocaleTimeString()}`, this.#passedOver && `a sample: ${number(this.#passedOver)} events not shown`,
      this.#paused && `${this.#waiting.length} waiting`];
    say(this.#line, parts.filter(Boolean).join(' · '));
  }

  #add(event) {
    if (this.#paused) {
      this.#waiting.push(event);
      if (this.#waiting.length > SHOWN) this.#waiting.shift();
      return;
    }
    this.#list.prepend(eventRow(event));
    while (this.#list.childElementCount > SHOWN) this.#list.lastElementChild.remove();
  }

  #toggle() {
    this.#paused = !this.#paused;
    this.#pause.textContent = this.#paused ? 'Go on' : 'Pause';
    this.#pause.setAttribute('aria-pressed', String(this.#paused));
    if (!this.#paused) for (const event of this.#waiting.splice(0)) this.#add(event);
    this.#tell();
  }
}

function eventRow({ event_id: id, type, rooms, timestamp, user_id: user, bytes: size, members, data, key, op }) {
  return row({
    time: time(timestamp),
    event: element('code', {}, type),
    rooms: valueOf('rooms', rooms.filter((room) => room !== 'tenant' || rooms.length === 1).join()),
    user: user ? element('span', {}, 'user ', found(user)) : '',
    item: key ? element('span', { class: 'hint' }, `${op ?? 'set'} ${key}`) : '',
    size: element('span', { class: 'hint' }, `${bytes(size)}, ${counted(members, 'member')}`),
    id: element('a', { href: fragment('find', { q: id }), class: 'short' }, id),
    payload: data ? element('pre', { tabindex: '0', 'aria-label': 'Payload' }, JSON.stringify(data, null, 2)) : '',
  }, { 'data-testid': 'live-event' });
}
