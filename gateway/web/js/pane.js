/** One tenant's pane: its connection, its numbers, its feed. What comes from events only ever becomes text. */

import { RateChart } from './chart.js';
import { connect } from './client.js';
import { element } from './element.js';
import { KINDS, Tally, kindOf, roomsOf, summary } from './tally.js';

const ROWS = 200;
const RECEIVED = 5_000;
const CUT_FOR = 4_000; // long enough to miss something
const PAINT_EVERY = 100; // milliseconds; a burst of events is one change of the DOM
const ROOMS_CHANGE = new Set(['subscription.revoked', 'authenticated', 'unsubscribed']);

const clock = new Intl.DateTimeFormat(undefined, { timeStyle: 'medium', hourCycle: 'h23' });
const whole = new Intl.NumberFormat('en');
const plural = (count, noun) => `${whole.format(count)} ${noun}${count === 1 ? '' : 's'}`;

export class Pane {
  /** The event_ids in the order of their arrival, the last 5,000; read by tests and by the curious. @type {string[]} */
  received = [];
  #parts = {};
  #tally = new Tally();
  #chart;
  #change = { state: 'connecting' };
  #lostAt = 0;
  #fresh = []; // rows that are not in the feed yet, as functions that make them
  #painting = false;
  #own = new Set();
  #foreignTried = false;

  /**
   * @param {HTMLElement} parent
   * @param {{tenant: string, user_id?: string, rooms: string[], foreign_room?: string, url: string,
   *   token: () => Promise<string>}} grant
   */
  constructor(parent, grant) {
    this.grant = grant;
    const pane = document.getElementById('pane-template').content.firstElementChild.cloneNode(true);
    for (const part of pane.querySelectorAll('[data-part]')) this.#parts[part.dataset.part] = part;
    this.#parts.state = pane.querySelector('[data-testid="state"]');
    pane.dataset.testid = `pane-${grant.tenant}`;
    pane.setAttribute('aria-label', `Tenant ${grant.tenant}`);
    this.#parts.tenant.textContent = grant.tenant;
    this.#parts.user.textContent = grant.user_id ?? '…';
    this.#parts.feed.setAttribute('aria-label', `Events of ${grant.tenant}, newest first`);
    this.#parts.legend.append(...KINDS.map((kind) => element('li', { class: `kind ${kind}` }, kind)));
    this.#parts.foreign.hidden = !grant.foreign_room;
    this.#say('resume', `Drops the socket for ${CUT_FOR / 1000} seconds. What happens meanwhile is not lost.`);
    if (grant.foreign_room) {
      this.#parts.foreign.textContent = `Try the other tenant’s ${grant.foreign_room}`;
      this.#say('refusal', 'This token is good for the rooms above and for no others.');
    }
    parent.append(pane);
    this.#chart = new RateChart(pane.querySelector('canvas'), KINDS);
    this.#parts.cut.addEventListener('click', () => this.#cut());
    this.#parts.foreign.addEventListener('click', () => this.tryForeign());
    this.#showRooms([]);
    this.client = connect({
      url: grant.url,
      token: grant.token,
      rooms: grant.rooms,
      clientId: 'dashboard',
      onEvent: (event) => this.#event(event),
      onState: (change) => this.#state(change),
      onSubscribed: (data) => this.#subscribed(data),
      onGap: ({ reason }) => this.#gap(reason),
      onError: (error) => this.#say('refusal', `${error.code ?? error.name}: ${error.message}`, 'bad'),
      onFrame: ({ type }) => {
        if (ROOMS_CHANGE.has(type)) this.#showRooms(this.client.rooms);
      },
    });
    this.#tick();
    setInterval(() => this.#tick(), 250);
  }

  /** Asks for a room that this token was not given. The refusal is the thing to see. */
  async tryForeign() {
    const room = this.grant.foreign_room;
    this.#foreignTried = true;
    this.#say('refusal', `Asking for ${room} …`);
    try {
      await this.client.subscribe([room]);
      this.#say('refusal', `${room} was NOT refused. That should not happen.`, 'bad');
    } catch (error) {
      this.#say('refusal', `Refused, ${error.code}: ${error.message}`, 'bad');
    }
  }

  /** Marks an event that this page published, whether it has arrived yet or not. */
  mark(eventId) {
    this.#own.add(eventId);
    for (const row of this.#parts.feed.children) if (row.dataset.eventId === eventId) row.classList.add('own');
  }

  #event(event) {
    const now = Date.now();
    this.received.push(event.event_id);
    if (this.received.length > RECEIVED) this.received.shift();
    this.#tally.add(event, now);
    this.#chart.add(kindOf(event.type), now);
    this.#add((calm) => this.#row(event, calm));
  }

  #gap(reason) {
    this.#say('resume', `A gap: events are missing here (${reason}).`, 'bad');
    this.#add(() => element('li', { class: 'gap', 'data-testid': 'feed-gap' }, `Events are missing here (${reason})`));
  }

  #add(row) {
    this.#fresh.push(row);
    if (this.#fresh.length > ROWS) this.#fresh.shift();
    if (this.#painting) return;
    this.#painting = true;
    setTimeout(() => this.#paint(), PAINT_EVERY);
  }

  #paint() {
    this.#painting = false;
    const { feed } = this.#parts;
    const rows = document.createDocumentFragment();
    const calm = this.#fresh.length > 3; // in a burst, to let rows appear softly costs much and tells nothing
    for (const row of this.#fresh.reverse()) rows.append(row(calm));
    this.#fresh = [];
    feed.prepend(rows);
    while (feed.childElementCount > ROWS) feed.lastElementChild.remove();
    this.#parts.received.textContent = whole.format(this.#tally.received);
    this.#parts.cursor.textContent = shortened(this.client.cursor);
  }

  #row(event, calm) {
    const row = element('li', {},
      element('span', { class: `kind type ${kindOf(event.type)}` }, event.type),
      element('time', { datetime: event.timestamp }, clock.format(new Date(event.timestamp))),
      element('span', { class: 'in' }, roomsOf(event).join(' ')),
      element('span', { class: 'about' }, summary(event.data)));
    row.classList.toggle('new', !calm);
    row.classList.toggle('own', this.#own.has(event.event_id));
    row.dataset.testid = 'feed-row';
    row.dataset.eventId = event.event_id;
    row.dataset.type = event.type;
    return row;
  }

  #state(change) {
    this.#change = change;
    const { state, reason } = change;
    if (state === 'reconnecting' && !this.#lostAt) this.#lostAt = Date.now();
    if (state === 'closed') this.#lostAt ||= Date.now();
    if (state === 'reconnecting') this.#say('resume', `Not connected: ${reason}. What happens now waits in the log.`);
    if (state === 'closed') {
      const remedy = typeof this.grant.token === 'function' ? 'The client does not come back by itself.'
        : 'Reload the page to give another token.';
      this.#say('resume', `Stopped: ${reason}. ${remedy}`, 'bad');
    }
    if (state === 'live') this.#parts.user.textContent = this.client.session.user_id;
    this.#parts.announce.textContent = `${this.grant.tenant}: ${state}${reason ? `, ${reason}` : ''}`;
    this.#parts.cut.textContent = { live: 'Cut the connection', closed: 'Connect again' }[state] ?? 'Reconnect now';
    this.#tick();
  }

  #subscribed({ recovered, replayed }) {
    this.#showRooms(this.client.rooms);
    const away = ((Date.now() - this.#lostAt) / 1000).toFixed(1);
    if (recovered === true) {
      this.#say('resume', `Resumed after ${away} s: ${plural(replayed, 'event')} replayed, nothing missing.`, 'good');
    } else if (recovered === false) {
      this.#say('resume', `Back after ${away} s, but the log was trimmed or reset meanwhile: events are missing.`, 'bad');
    }
    this.#lostAt = 0;
    if (this.grant.foreign_room && !this.#foreignTried) {
      this.#foreignTried = true;
      setTimeout(() => this.client.state === 'live' && this.tryForeign(), 1_500);
    }
  }

  #cut() {
    if (this.#change.state === 'live') this.client.cut(CUT_FOR);
    else if (this.#change.state === 'closed') this.client.open();
    else this.client.cut(0);
  }

  #tick() {
    const { state, reason, retryAt } = this.#change;
    const now = Date.now();
    const words = {
      reconnecting: `reconnecting in ${Math.max(0, Math.ceil((retryAt - now) / 1000))} s`,
      closed: `closed: ${reason}`,
    };
    this.#show('state', words[state] ?? state);
    this.#parts.state.dataset.state = state;
    this.#show('rate', this.#tally.rate(now).toFixed(1));
    this.#show('agents', whole.format(this.#tally.agents(now)));
    for (const name of ['open', 'completed', 'failed']) this.#show(name, whole.format(this.#tally[name]));
    this.#show('duplicates', whole.format(this.client?.duplicates ?? 0));
    this.#show('gaps', whole.format(this.client?.gaps ?? 0));
    for (const name of ['duplicates', 'gaps']) this.#parts[name].dataset.tone = this.client?.[name] ? 'bad' : '';
    this.#show('cursor', shortened(this.client?.cursor));
  }

  #showRooms(subscribed) {
    const wanted = new Set([...this.grant.rooms, ...subscribed]);
    this.#parts.rooms.replaceChildren(...[...wanted].map((room) => {
      const on = subscribed.includes(room);
      return element('li', { class: on ? 'chip on' : 'chip', title: on ? 'subscribed' : 'not subscribed' }, room);
    }));
  }

  #say(part, text, tone = '') {
    this.#parts[part].parentElement.hidden = false;
    this.#show(part, text);
    this.#parts[part].dataset.tone = tone;
  }

  #show(part, text) {
    if (this.#parts[part].textContent !== text) this.#parts[part].textContent = text;
  }
}

const shortened = (cursor = '–') => (cursor.length > 20 ? `${cursor.slice(0, 8)}…${cursor.slice(-8)}` : cursor);
