/** One tenant's pane: its connection, its numbers, its feed. What comes from events only ever becomes text. */

import { RateChart } from './chart.js';
import { connect } from './client.js';
import { element } from './element.js';
import { Feed } from './feed.js';
import { ItemPanel } from './items.js';
import { KINDS, Tally, kindOf } from './tally.js';

const RECEIVED = 5_000;
const ARRIVED = 500; // events that are looked up by their id: what this page has published a moment ago
const EARLIER = 100; // events that are loaded at once from before this page
const SLOW_RATE = 5; // events a second, fewer than the demo has
const CUT_FOR = 4_000; // long enough to miss something
const ROOMS_CHANGE = new Set(['subscription.revoked', 'authenticated', 'unsubscribed']);

const clock = new Intl.DateTimeFormat(undefined, { timeStyle: 'medium', hourCycle: 'h23' });
const whole = new Intl.NumberFormat('en');
const plural = (count, noun) => `${whole.format(count)} ${noun}${count === 1 ? '' : 's'}`;

export class Pane {
  /** The event_ids, in the order of their arrival, of the last 5,000 events without a key; for tests and for the curious. @type {string[]} */
  received = [];
  #parts = {};
  #tally = new Tally();
  #chart;
  #connection = { state: 'connecting' };
  #feed;
  #items;
  #slow = false;
  #arrived = new Map(); // event_id: the event
  #awaited = new Map(); // event_id: what is called with it
  #lostAt = 0;
  #gaps = 0;
  #joined = new Map(); // name: the room of the client

  /**
   * @param {HTMLElement} parent
   * @param {{tenant: string, user_id?: string, rooms: string[], foreign_room?: string, url: string,
   *   token: () => Promise<string>, renew?: (reason: string) => Promise<void>}} grant
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
    this.#parts.slow.hidden = !grant.limit;
    this.#parts.cut.title = `Drops the socket for ${CUT_FOR / 1000} seconds. What happens meanwhile is not lost.`;
    this.#parts.slow.title = `A token for ${SLOW_RATE} events a second: it misses no event, and of each item it gets the newest value.`;
    if (grant.foreign_room) this.#parts.foreign.textContent = `Try the other tenant’s ${grant.foreign_room}`;
    parent.append(pane);
    this.#chart = new RateChart(pane.querySelector('canvas'), KINDS);
    this.#items = new ItemPanel(this.#parts.items);
    this.#feed = new Feed(this.#parts.feed, this.#parts.filter, this.#parts.pause, () => this.#showReceived());
    this.#parts.join.addEventListener('submit', (submitted) => this.#joinTyped(submitted));
    this.#parts.earlier.addEventListener('click', () => this.#loadEarlier());
    this.#parts.cut.addEventListener('click', () => this.#cut());
    this.#parts.slow.addEventListener('click', () => this.#toggleSlow());
    this.#parts.foreign.addEventListener('click', () => this.tryForeign());
    this.#showRooms([]);
    this.#connect();
    for (const room of grant.rooms) this.#join(room);
    this.#tick();
    setInterval(() => this.#tick(), 250);
  }

  #connect(since) {
    this.client = connect({
      url: this.grant.url,
      token: this.grant.token,
      since,
      clientId: 'dashboard',
      staleAfter: 20_000, // longer than the gateway's marks are apart
      onEvent: (event) => this.#event(event),
      onState: (change) => this.#state(change),
      onGap: ({ reason }) => this.#gap(reason),
      onError: (error) => this.#say('refusal', `${error.code ?? error.name}: ${error.message}`, 'bad'),
      onFrame: (frame) => {
        if (ROOMS_CHANGE.has(frame.type)) this.#showRooms(this.client.rooms);
        if (frame.type === 'subscribed') this.#subscribed(frame.data);
      },
    });
  }

  /** Asks for a room that this token was not given. The refusal is the thing to see. */
  async tryForeign() {
    const room = this.grant.foreign_room;
    this.#say('refusal', `Asking for ${room} …`);
    const { state, reason, message } = await this.#join(room);
    if (state === 'closed') this.#say('refusal', `Refused, ${reason}: ${message}`, 'bad');
    else this.#say('refusal', `${room} was NOT refused. That should not happen.`, 'bad');
  }

  /** Marks an event that this page published. @param {(event: object) => void} onArrival  called once it is here */
  mark(eventId, onArrival) {
    this.#feed.mark(eventId);
    if (this.#arrived.has(eventId)) onArrival(this.#arrived.get(eventId));
    else this.#awaited.set(eventId, onArrival);
  }

  #event(event) {
    const now = Date.now();
    const at = this.#timeOf(event, now); // after a resume what was missed is of then
    if (event.key) this.#items.count(event);
    else this.#log(event);
    this.#arrived.set(event.event_id, event);
    if (this.#arrived.size > ARRIVED) this.#arrived.delete(this.#arrived.keys().next().value);
    this.#tally.add(event, at);
    this.#chart.add(kindOf(event.type), at, now);
    this.#awaited.get(event.event_id)?.(event);
    this.#awaited.delete(event.event_id);
  }

  /** What has no key happened once, and is a line of the feed; the changes of an item are seen in it. */
  #log(event) {
    this.received.push(event.event_id);
    if (this.received.length > RECEIVED) this.received.shift();
    this.#feed.add(event);
  }

  /** When an event happened, by this page's clock, from which the gateway's may differ. */
  #timeOf({ timestamp }, now) {
    const { asOf, age } = this.client.freshness;
    const ahead = asOf ? asOf.getTime() + age - now : 0;
    return Math.min(now, Date.parse(timestamp) - ahead);
  }

  #gap(reason) {
    this.#gaps += 1;
    this.#say('resume', `A gap: events are missing here (${reason}).`, 'bad');
    this.#feed.addGap(reason);
  }

  #state(change) {
    this.#connection = change;
    const { state, reason } = change;
    if (state === 'reconnecting' && !this.#lostAt) this.#lostAt = Date.now();
    if (state === 'closed') this.#lostAt ||= Date.now();
    if (state === 'reconnecting') this.#say('resume', `Not connected: ${reason}. What happens now waits in the log.`);
    if (state === 'closed') {
      const renewable = this.grant.renew && reason.startsWith('token_');
      this.#say('resume', `Stopped: ${reason}. ${renewable ? 'Enter another token above.' : 'The client does not come back by itself.'}`, 'bad');
      if (renewable) this.grant.renew(`The token was refused: ${reason}.`).then(() => this.#restart());
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
  }

  #cut() {
    if (this.#connection.state === 'live') this.client.cut(CUT_FOR);
    else if (this.#connection.state === 'closed') this.client.open();
    else this.client.cut(0);
  }

  #tick() {
    const { state, reason, retryAt } = this.#connection;
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
    for (const [name, count] of [['duplicates', this.client?.duplicates ?? 0], ['gaps', this.#gaps]]) {
      this.#show(name, whole.format(count));
      this.#parts[name].dataset.tone = count ? 'bad' : '';
    }
    this.#showReceived();
    this.#showAge();
    if (this.#slow) this.#showConflation();
  }

  #showReceived() {
    this.#show('received', whole.format(this.#tally.received));
    this.#show('cursor', shortened(this.client?.cursor));
  }

  /** Silence with a young mark is a quiet room; with an old one, it may be anything. */
  #showAge() {
    const { asOf, age, stale } = this.client?.freshness ?? {};
    if (!asOf) return;
    this.#show('asOf', `complete as of ${clock.format(asOf)}, ${Math.floor(age / 1000)} s ago`);
    this.#parts.asOf.dataset.tone = stale ? 'wait' : '';
  }

  /** A button for each room: those of the token, and those that were joined. */
  #showRooms(subscribed) {
    const wanted = new Set([...this.grant.rooms, ...subscribed]);
    const focused = this.#parts.rooms.contains(document.activeElement) && document.activeElement.textContent;
    this.#parts.rooms.replaceChildren(...[...wanted].map((room) => {
      const on = subscribed.includes(room);
      const label = on ? 'joined: click to leave' : 'left: click to join';
      const button = element('button', { type: 'button', class: on ? 'chip on' : 'chip', title: label }, room);
      button.setAttribute('aria-pressed', on);
      button.addEventListener('click', () => (on ? this.#leave(room) : this.#join(room)));
      return element('li', {}, button);
    }));
    if (focused) [...this.#parts.rooms.querySelectorAll('button')].find((one) => one.textContent === focused)?.focus();
  }

  async #joinTyped(submitted) {
    submitted.preventDefault();
    const { room } = submitted.target.elements;
    if ((await this.#join(room.value.trim())).state === 'live') room.value = '';
  }

  /** Joins a room. Resolves to the change of its state: `live`, or `closed` where the gateway refused it. */
  #join(name) {
    this.#joined.get(name)?.close();
    return new Promise((resolve) => {
      this.#joined.set(name, this.client.room(name, {
        state: true,
        onItems: (items) => this.#items.show(name, items),
        onState: (change) => {
          if (change.state === 'closed') this.#joined.delete(name);
          resolve(change);
        },
      }));
    });
  }

  #leave(name) {
    this.#joined.get(name)?.close();
    this.#items.show(name);
    this.#showRooms(this.client.rooms);
  }

  /** Goes on with a token for few events a second, or again without: where it is behind, items come conflated. */
  #toggleSlow() {
    this.#slow = !this.#slow;
    this.#parts.slow.textContent = this.#slow ? 'Be fast again' : 'Be a slow client';
    this.#parts.slow.setAttribute('aria-pressed', this.#slow);
    this.grant.limit(this.#slow ? SLOW_RATE : undefined);
    this.#items.resetCount();
    this.#restart();
    if (!this.#slow) this.#say('slowness', '');
  }

  /** Replaces the client by one that asks for its token. */
  #restart() {
    const { cursor, rooms } = this.client;
    this.client.close();
    this.#connect(cursor);
    for (const room of rooms) this.#join(room);
  }

  #showConflation() {
    const { changes, received } = this.#items;
    this.#say('slowness', `At ${SLOW_RATE} events a second: ${plural(changes, 'change')} of texts came in ${plural(received, 'event')}.`);
  }

  /** Asks for what was in its rooms before this connection joined them. */
  async #loadEarlier() {
    const { earlier } = this.#parts;
    earlier.disabled = true;
    this.#feed.makeRoom(EARLIER);
    try {
      const { replayed } = await this.client.history(EARLIER);
      this.#show('earlier', replayed ? 'Earlier' : 'Nothing earlier');
    } catch (error) {
      this.#say('refusal', `${error.code}: ${error.message}`, 'bad');
    } finally {
      earlier.disabled = false;
    }
  }

  #say(part, text, tone = '') {
    this.#show(part, text);
    this.#parts[part].dataset.tone = tone;
  }

  #show(part, text) {
    if (this.#parts[part].textContent !== text) this.#parts[part].textContent = text;
  }
}

const shortened = (cursor = '–') => (cursor.length > 20 ? `${cursor.slice(0, 8)}…${cursor.slice(-8)}` : cursor);
