/** Explain: why a user or a connection did or did not get an event, rule by rule. */

import { element } from '../element.js';
import { curl } from './api.js';
import { found, fragment } from './links.js';
import { busy, button, command, facts, field, input, outcome, row, rows, say, section, time } from './parts.js';

const WORDS = { delivered: 'Delivered', not_delivered: 'Not delivered', pending: 'Pending', unknown: 'Unknown' };
const TONES = { delivered: 'live', not_delivered: 'closed', pending: 'connecting', unknown: 'connecting' };

export class ExplainView {
  static title = 'Explain';
  section;
  #api;
  #who = input('explain-who', { required: 'required', maxlength: '128', placeholder: 'ada or con_…' });
  #what = input('explain-what', { required: 'required', maxlength: '160', placeholder: 'evt_… or circle:7' });
  #submit = button('Explain', 'explain-submit', true);
  #line = outcome('explain-result');
  #answer = element('div', { class: 'results', 'data-testid': 'explain-answer' });
  #curl = command(() => curl('GET', this.#api.path('/admin/explain', this.#query())), 'explain-curl');

  constructor(api) {
    this.#api = api;
    const form = element('form', { class: 'bar', autocomplete: 'off' }, field('User or connection', this.#who), field('Event or room', this.#what, true), this.#submit, this.#line);
    form.addEventListener('submit', (submitted) => {
      submitted.preventDefault();
      const hash = fragment('explain', this.#query());
      if (location.hash === hash) this.#explain();
      else location.hash = hash;
    });
    form.addEventListener('input', this.#curl.refresh);
    this.section = section('Explain', 'Why did this user not get that event? Rule by rule, on every node, for connections that ended up to 10 minutes ago too.',
      form, this.#answer, this.#curl.box);
  }

  show({ user_id: user, connection_id: connection, event_id: event, room } = {}) {
    const [who, what] = [user ?? connection ?? '', event ?? room ?? ''];
    if (!who && !what) return undefined;
    [this.#who.value, this.#what.value] = [who, what];
    this.#curl.refresh();
    if (who && what) return this.#explain();
    this.#answer.replaceChildren();
    say(this.#line, who ? 'Name the event or the room.' : 'Name the user or the connection.');
    return undefined;
  }

  #query() {
    const [who, what] = [this.#who.value.trim(), this.#what.value.trim()];
    return { [who.startsWith('con_') ? 'connection_id' : 'user_id']: who, [what.startsWith('evt_') ? 'event_id' : 'room']: what };
  }

  #explain() {
    this.#answer.replaceChildren();
    return busy(this.#submit, this.#line, async () => {
      const answer = await this.#api.get('/admin/explain', this.#query());
      say(this.#line, '');
      this.#answer.replaceChildren(...described(answer));
    });
  }
}

function described({ user_id: user, event, room, verdict, reason, message, connections, known_since: since, silent, partial }) {
  const head = element('article', { class: 'card', 'data-testid': 'verdict' },
    element('header', { class: 'pane-head' }, element('h3', {}, message), pill(verdict, reason)),
    facts([
      ['user', user && found(user)], ['event', event && found(event.event_id)], ['type', event?.type], ['room', room && found(room)],
      ['rooms', event?.rooms && element('span', {}, ...event.rooms.flatMap((name, at) => [at ? ', ' : '', found(name)]))],
      ['published', event?.timestamp && time(event.timestamp)], ['ended connections', since && element('span', {}, 'known since ', time(since))],
      ['silent nodes', silent?.join(', ')], ['note', partial && 'Not all nodes have answered.'],
    ]));
  return [head, ...connections.map(connection)];
}

function connection(each) {
  const state = each.ended_at ? element('span', {}, 'ended ', time(each.ended_at)) : 'open';
  return element('article', { class: 'card', 'data-testid': 'explained-connection' },
    element('header', { class: 'pane-head' }, element('h3', {}, found(each.connection_id)), pill(each.verdict, each.reason)),
    element('p', { class: 'hint' }, each.message),
    facts([['user', found(each.user_id)], ['label', each.client_id && `“${each.client_id}”`], ['transport', each.transport],
      ['connected', time(each.connected_at)], ['state', state], ['node', each.node]]),
    rows('Rules', each.rules.map(({ rule, holds, detail }) => row({
      holds: element('b', { class: holds ? 'good' : 'bad' }, holds ? '✓' : '✗', element('span', { class: 'sr-only' }, holds ? ' holds' : ' does not hold')),
      rule, detail: element('span', { class: 'hint' }, detail),
    }, { 'data-testid': 'rule' }))));
}

const pill = (verdict, reason) => element('p', { class: 'pill', 'data-state': TONES[verdict] },
  verdict === reason ? WORDS[verdict] : `${WORDS[verdict]}: ${reason.replaceAll('_', ' ')}`);
