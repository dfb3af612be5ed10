/** The feed of a pane: events by their time, newest first, filtered and paused; each opens as JSON. */

import { element } from './element.js';
import { kindOf, roomsOf, summary } from './tally.js';

const ROWS = 200;
const PAINT_EVERY = 100; // milliseconds; a burst of events is one change of the DOM

const clock = new Intl.DateTimeFormat(undefined, { timeStyle: 'medium', hourCycle: 'h23' });

/** A row that opens as the event's JSON. What comes from events only ever becomes text. */
export function eventRow(event) {
  const line = element('summary', {},
    element('span', { class: `kind type ${kindOf(event.type)}` }, event.type),
    element('time', { datetime: event.timestamp }, clock.format(new Date(event.timestamp))),
    element('span', { class: 'in' }, roomsOf(event).join(' ')),
    element('span', { class: 'about' }, summary(event.data)));
  const details = element('details', {}, line);
  details.addEventListener('toggle', () => {
    details.append(element('pre', { 'data-testid': 'feed-json' }, JSON.stringify(event, null, 2)));
  }, { once: true });
  const row = element('li', {
    'data-testid': 'feed-row', 'data-event-id': event.event_id, 'data-type': event.type, 'data-at': event.timestamp,
  });
  row.append(details);
  return row;
}

export class Feed {
  #list;
  #rows = ROWS;
  #pause;
  #fresh = []; // rows that are not in the list yet, as functions that make them
  #own = new Set();
  #painting = false;
  #paused = false;
  #wanted = '';
  #newest = ''; // the time of the newest event: a gap is after it
  #onPaint;

  /** @param {HTMLElement} list @param {HTMLInputElement} filter @param {HTMLButtonElement} pause
   *  @param {() => void} onPaint  called when rows were added, at most ten times a second */
  constructor(list, filter, pause, onPaint) {
    this.#list = list;
    this.#onPaint = onPaint;
    this.#pause = pause;
    filter.addEventListener('input', () => {
      this.#wanted = filter.value.trim().toLowerCase();
      for (const row of list.children) this.#sift(row);
    });
    pause.addEventListener('click', () => this.#toggle());
  }

  add(event) { this.#add((calm) => this.#row(event, calm)); }

  addGap(reason) {
    this.#add(() => element('li', { class: 'gap', 'data-testid': 'feed-gap', 'data-at': this.#newest },
      `Events are missing here (${reason})`));
  }

  /** Keeps so many rows more: older ones are to come. */
  makeRoom(count) { this.#rows += count; }

  /** Marks an event that this page published, whether it has arrived yet or not. */
  mark(eventId) {
    this.#own.add(eventId);
    for (const row of this.#list.children) if (row.dataset.eventId === eventId) row.classList.add('own');
  }

  #add(row) {
    this.#fresh.push(row);
    if (this.#fresh.length > this.#rows) this.#fresh.shift();
    if (this.#paused) this.#label();
    if (this.#painting) return;
    this.#painting = true;
    setTimeout(() => this.#paint(), PAINT_EVERY);
  }

  #paint() {
    this.#painting = false;
    if (this.#paused) return;
    const calm = this.#fresh.length > 3; // in a burst, to let rows appear softly costs much and tells nothing
    for (const make of this.#fresh) {
      const row = make(calm);
      this.#sift(row);
      this.#place(row);
    }
    this.#fresh = [];
    while (this.#list.childElementCount > this.#rows) this.#list.lastElementChild.remove();
    this.#onPaint();
  }

  #row(event, calm) {
    const row = eventRow(event);
    row.classList.toggle('new', !calm);
    row.classList.toggle('own', this.#own.has(event.event_id));
    return row;
  }

  /** Puts a row on top; one that was asked for from before goes below those that are newer. */
  #place(row) {
    let below = this.#list.firstElementChild;
    while (below && row.dataset.at < below.dataset.at) below = below.nextElementSibling;
    this.#list.insertBefore(row, below);
    if (row.dataset.at > this.#newest) this.#newest = row.dataset.at;
  }

  /** Hides a row that lacks the text; never a gap. */
  #sift(row) {
    row.hidden = row.dataset.eventId !== undefined
      && !row.querySelector('summary').textContent.toLowerCase().includes(this.#wanted);
  }

  #toggle() {
    this.#paused = !this.#paused;
    this.#pause.setAttribute('aria-pressed', this.#paused);
    this.#label();
    if (!this.#paused) this.#paint();
  }

  #label() {
    this.#pause.textContent = this.#paused ? `Continue (${this.#fresh.length} new)` : 'Pause';
  }
}
