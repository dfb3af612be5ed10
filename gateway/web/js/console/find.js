/** Find: one box for a user, a room, a connection, an event or the id of a token. */

import { element } from '../element.js';
import { act } from './audit.js';
import { found, fragment, valueOf } from './links.js';
import { bytes } from './now.js';
import { busy, button, counted, facts, field, input, missing, number, outcome, row, rows, say, section, time } from './parts.js';

const FORGOTTEN = {
  trimmed: 'The event is no longer kept: it was trimmed, or a newer value of its item took its place.',
  reset: 'The event is of an earlier log of this tenant, which was reset since.',
  never_published: 'This tenant has no such event.',
};

export class FindView {
  static title = 'Find';
  section;
  #api;
  #box = input('find-box', { type: 'search', required: 'required', maxlength: '160', placeholder: 'user, room, con_…, evt_… or jti' });
  #submit = button('Find', 'find-submit', true);
  #line = outcome('find-result');
  #results = element('div', { class: 'results', 'data-testid': 'find-results' });

  constructor(api) {
    this.#api = api;
    const form = element('form', { class: 'bar find', role: 'search', autocomplete: 'off' }, field('Name or id', this.#box), this.#submit, this.#line);
    form.addEventListener('submit', (submitted) => {
      submitted.preventDefault();
      const hash = fragment('find', { q: this.#box.value.trim() });
      if (location.hash === hash) this.show({ q: this.#box.value.trim() });
      else location.hash = hash;
    });
    this.section = section('Find', 'One box for everything that has a name. What is found links to the rest.', form, this.#results);
  }

  async show({ q, tenant } = {}) {
    if (!q) {
      if (tenant) await this.#showTenant();
      return;
    }
    this.#box.value = q;
    this.#results.replaceChildren();
    await busy(this.#submit, this.#line, async () => {
      const answer = await this.#api.get('/admin/find', { q });
      if (this.#box.value !== q) return;
      const parts = described(answer, this.#api);
      this.#results.replaceChildren(...parts);
      say(this.#line, summary(answer, parts.length));
    });
  }

  /** Where a link names a tenant and nothing in it: where to go on from there. */
  async #showTenant() {
    this.#box.value = '';
    this.#results.replaceChildren();
    await busy(this.#submit, this.#line, async () => {
      const [stats, { rooms: all, next }] = await Promise.all([this.#api.get('/admin/stats', { limit: 1 }), this.#api.get('/admin/rooms', { limit: 1_000 })]);
      if (this.#box.value) return;
      this.#results.replaceChildren(tenantCard(stats, all, next !== null));
      say(this.#line, `Name what to find in tenant ${stats.tenant}, or follow a link.`);
    });
  }
}

const LARGEST = 10;

function tenantCard(stats, all, more) {
  const largest = [...all].sort((a, b) => b.connections - a.connections).slice(0, LARGEST);
  const listed = rows('Rooms', largest.map(({ room, connections, users }) => row({
    room: found(room), connections: counted(connections, 'connection'), users: counted(users, 'user'),
  })), 'tenant-rooms');
  const hint = more ? 'The largest of its first 1,000 rooms by name' : all.length > LARGEST ? 'Its largest rooms' : 'Its rooms';
  return element('article', { class: 'card', 'data-testid': 'found-tenant' }, element('h3', {}, `Tenant ${stats.tenant}`), facts([
    ['connections', number(stats.active_connections)], ['users', number(stats.active_users)], ['rooms', number(stats.active_rooms)],
    ['log', `${number(stats.log_events)} events, ${bytes(stats.log_bytes)}`],
  ]), ...(largest.length ? [element('h4', {}, hint), listed] : []), element('p', { class: 'ways' },
    element('a', { href: fragment('live') }, 'Live'), ' ', element('a', { href: fragment('audit') }, 'Audit')));
}

function summary({ query, tenant, ...answer }, parts) {
  return (parts ? `Found in tenant ${tenant}.` : `Nothing is known of ${query} in tenant ${tenant}.`) + missing(answer);
}

function described({ query, user, room, event, forgotten, token, connections, more, ended, similar, acts }) {
  const parts = [];
  const card = (title, testid, ...children) => parts.push(element('article', { class: 'card', 'data-testid': testid }, element('h3', {}, title), ...children));
  if (user) {
    card(`User ${user.user_id}`, 'found-user', facts([
      ['connections', String(user.connections)],
      ['revoked', user.revoked_before && element('span', {}, 'tokens issued up to ', time(user.revoked_before))],
      ['removed from', user.removed_from.length ? valueOf('rooms', user.removed_from.join()) : undefined],
    ]), ways(['Explain', 'explain', { user_id: user.user_id }], ['Watch', 'live', { user_id: user.user_id }], ['Revoke …', 'act', { user: user.user_id }]));
  }
  if (room) {
    card(`Room ${room.room}`, 'found-room', facts([['connections', String(room.connections)], ['users', String(room.users)]]),
      ways(['Watch', 'live', { room: room.room }], ['Explain', 'explain', { room: room.room }], ['Publish …', 'act', { room: room.room }]));
  }
  if (event) {
    card(`Event ${event.type}`, 'found-event', eventFacts(event), ways(['Explain', 'explain', { event_id: event.event_id }], ['Watch its type', 'live', { type: event.type }]));
  } else if (forgotten) {
    card('Event', 'found-event', element('p', {}, FORGOTTEN[forgotten]), ways(['Explain', 'explain', { event_id: query }]));
  }
  if (token) {
    card(`Token ${token.jti}`, 'found-token', facts([
      ['state', token.revoked ? 'revoked by its id' : 'not revoked by its id'], ['connections', String(token.connections)],
    ]), ways(['Revoke …', 'act', { revoke: token.jti }]));
  }
  if (connections.length) {
    const title = `${connections.length}${more ? ' of more' : ''} ${connections.length === 1 ? 'connection' : 'connections'}`;
    card(title, 'found-connections', rows('Connections', connections.map(connection)));
  }
  if (ended.length) card('Ended in the last 10 minutes', 'found-ended', rows('Ended connections, newest first', ended.map(endedConnection)));
  if (similar.length) card('Similar names', 'found-similar', element('p', {}, ...similar.flatMap((name, at) => [at ? ', ' : '', found(name)])));
  if (acts.length) card('Acts', 'found-acts', rows('Acts, newest first', acts.map(act)));
  return parts;
}

const ways = (...links) => element('p', { class: 'ways' }, ...links.map(([text, view, values]) => element('a', { href: fragment(view, values) }, text)));

export const eventFacts = (event) => facts([
  ['event', found(event.event_id)], ['rooms', valueOf('rooms', event.rooms.join())], ['published', time(event.timestamp)],
  ['user', event.user_id && found(event.user_id)], ['agent', event.source_agent_id === null ? undefined : String(event.source_agent_id)],
  ['item', event.key && `${event.key} (${event.op ?? 'set'})`], ['size', `${bytes(event.bytes)}, ${counted(event.members, 'member')} of data`],
]);

function endedConnection(each) {
  return row({
    connection: found(each.connection_id),
    user: element('span', {}, 'user ', found(each.user_id)),
    ended: element('span', {}, 'ended ', time(each.ended_at)),
    why: each.reason ? element('b', {}, `${each.code ?? ''} ${each.reason}`.trim()) : 'by the client',
    label: each.client_id ? `“${each.client_id}”` : '',
    node: element('span', { class: 'hint' }, each.node),
    ways: ways(['Explain', 'explain', { connection_id: each.connection_id }]),
  }, { 'data-testid': 'ended-connection' });
}

function connection(each) {
  return row({
    connection: found(each.connection_id),
    user: element('span', {}, 'user ', found(each.user_id)),
    state: element('span', { class: each.state === 'behind' ? 'bad' : '' }, each.state ?? 'on another node'),
    since: element('span', {}, 'since ', time(each.connected_at)),
    label: each.client_id ? `“${each.client_id}”` : '',
    node: element('span', { class: 'hint' }, each.node),
    rooms: element('span', {}, valueOf('rooms', each.rooms.join())),
    ways: ways(['Explain', 'explain', { connection_id: each.connection_id }], ['Close …', 'act', { close: each.connection_id }]),
  }, { 'data-testid': 'connection' });
}
