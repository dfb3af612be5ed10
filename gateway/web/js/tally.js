/** What a pane's numbers are made of: pure bookkeeping over events, no DOM and no clock of its own. */

export const KINDS = ['agent', 'task', 'memory', 'circle', 'conversation', 'other'];

/** The first word of a type, where it is one that has a colour. */
export function kindOf(type) {
  const word = type.split('.', 1)[0];
  return KINDS.includes(word) ? word : 'other';
}

const RATE_WINDOW = 5; // seconds
const AGENT_ACTIVE = 60_000; // an agent that did anything within this many milliseconds, and has not stopped
const MOST = 5_000; // agents and tasks remembered
const ENDED = new Map([['completed', 'completed'], ['failed', 'failed']]);

export class Tally {
  received = 0;
  completed = 0;
  failed = 0;
  #open = new Set();
  #ended = new Set();
  #agents = new Map();
  #seconds = new Map();

  /** @param {{type: string, data: object, source_agent_id?: number|string}} event
   *  @param {number} at  when it happened, in milliseconds: it may be replayed long after that */
  add(event, at) {
    this.received += 1;
    const second = Math.floor(at / 1000);
    this.#seconds.set(second, (this.#seconds.get(second) ?? 0) + 1);
    trim(this.#seconds);
    this.#agent(event, at);
    this.#task(event);
  }

  /** Events a second over the last five whole seconds. */
  rate(now) {
    const second = Math.floor(now / 1000);
    let sum = 0;
    for (const [at, count] of this.#seconds) {
      if (at < second - RATE_WINDOW) this.#seconds.delete(at);
      else if (at < second) sum += count;
    }
    return sum / RATE_WINDOW;
  }

  agents(now) {
    for (const [agent, at] of this.#agents) {
      if (now - at > AGENT_ACTIVE) this.#agents.delete(agent);
    }
    return this.#agents.size;
  }

  get open() { return this.#open.size; }

  #agent({ type, data, source_agent_id: source }, at) {
    const agent = source ?? (type.startsWith('agent.') ? data?.agent_id : undefined);
    if (agent === undefined) return;
    this.#agents.delete(String(agent)); // set again, so that the oldest is first
    if (type !== 'agent.stopped') this.#agents.set(String(agent), at);
    trim(this.#agents);
  }

  /** `task.*` and `agent.task.*` may both tell of one task: by its id it counts once. */
  #task({ type, data }) {
    const words = type.split('.');
    if (words.at(-2) !== 'task') return;
    const named = data?.task_id ?? data?.id;
    if (named === undefined && words.length > 2) return; // without an id, only `task.*` itself counts
    const task = named === undefined ? undefined : String(named);
    const end = ENDED.get(words.at(-1));
    if (!end) {
      if (task !== undefined && !this.#ended.has(task)) this.#open.add(task);
    } else if (!this.#ended.has(task)) {
      this[end] += 1;
      this.#open.delete(task);
      if (task !== undefined) this.#ended.add(task);
    }
    trim(this.#open);
    trim(this.#ended);
  }
}

function trim(collection) {
  if (collection.size > MOST) collection.delete(collection.keys().next().value);
}

const SUMMARY_FIELDS = [
  'title', 'name', 'text', 'message', 'content', 'summary', 'about', 'tool', 'key', 'error', 'reason', 'user_id', 'agent',
];

const UNLABELLED = new Set(['title', 'text', 'message', 'content', 'summary']);

/** One short line about an event's data: its most informative fields, else its JSON. */
export function summary(data) {
  const shown = SUMMARY_FIELDS.filter((key) => ['string', 'number'].includes(typeof data?.[key])).slice(0, 2);
  const parts = shown.map((key) => (UNLABELLED.has(key) ? `${data[key]}` : `${key}: ${data[key]}`));
  if (['string', 'number'].includes(typeof data?.task_id)) parts.unshift(`#${data.task_id}`);
  const text = parts.length ? parts.join(' · ') : JSON.stringify(data ?? {});
  return text.length > 160 ? `${text.slice(0, 159)}…` : text;
}

/** The rooms that an event names besides `tenant`, as the gateway routes it. */
export function roomsOf(event) {
  const rooms = [];
  for (const [name, id] of Object.entries(event)) {
    const kind = /^([a-z][a-z0-9]*)_id$/.exec(name)?.[1]; // not `source_agent_id`
    if (kind && kind !== 'event' && id !== null) rooms.push(`${kind}:${id}`);
  }
  return rooms.length ? rooms : ['tenant'];
}
