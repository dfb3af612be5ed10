/** The items of a pane's rooms: what keyed events set and append to, each shown with its newest value. */

import { element } from './element.js';
import { roomsOf, summary } from './tally.js';

const SHOWN = 8; // chips

/** Items that have a text that may grow: the newest is shown as it grows, the others are chips. */
const isText = ({ data }) => typeof data?.text === 'string';

export class ItemPanel {
  changes = 0; // of items, as far as they are counted in `data.changes`
  received = 0; // events that brought them
  #panel;
  #chips;
  #title;
  #text;
  #rooms = new Map(); // name: the room's items
  #counted = new Map(); // item: its changes so far
  #painted;

  /** @param {HTMLElement} panel  with parts `chips`, `title` and `text` */
  constructor(panel) {
    this.#panel = panel;
    [this.#chips, this.#title, this.#text] = ['chips', 'title', 'text'].map((part) => panel.querySelector(`[data-item="${part}"]`));
  }

  /** Takes the items of a room, or none where it was left. @param {Map<string, object>} [items] */
  show(room, items) {
    if (items) this.#rooms.set(room, items);
    else this.#rooms.delete(room);
    this.#painted ??= requestAnimationFrame(() => this.#paint());
  }

  /** Counts how many changes an event stands for: several where the connection was behind. */
  count({ key, data, ...event }) {
    if (!Number.isInteger(data?.changes)) return;
    const item = [key, ...roomsOf(event)].join(' ');
    const before = this.#counted.get(item);
    this.#counted.set(item, data.changes);
    this.received += 1;
    this.changes += before < data.changes ? data.changes - before : 1;
  }

  resetCount() { this.changes = this.received = 0; }

  #paint() {
    this.#painted = undefined;
    const newest = new Map(); // by event_id: an item of several rooms is one
    for (const items of this.#rooms.values()) for (const event of items.values()) newest.set(event.event_id, event);
    const events = [...newest.values()].sort((a, b) => (a.timestamp < b.timestamp ? 1 : -1));
    const growing = events.find(isText);
    this.#panel.hidden = !events.length;
    this.#title.textContent = growing ? summary({ title: growing.data.title ?? growing.key, agent: growing.data.agent }) : '';
    this.#text.textContent = growing?.data.text ?? '';
    this.#text.scrollTop = this.#text.scrollHeight; // its end is what is new
    const others = events.filter((event) => !isText(event)).slice(0, SHOWN).sort((a, b) => (a.key < b.key ? -1 : 1));
    this.#chips.replaceChildren(...others.map(({ key, data }) => element('li', { 'data-status': String(data?.status ?? '') },
      data?.agent && data.status ? `${data.agent}: ${data.status}` : `${key}: ${summary(data)}`)));
  }
}
