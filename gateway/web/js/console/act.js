/** Act: publish a test event, close a connection, revoke tokens, bar a user from a room, drain a node. Each shows its
 *  curl. */

import { dataOf, fieldsOf } from '../drafting.js';
import { element } from '../element.js';
import { curl } from './api.js';
import { found, fragment } from './links.js';
import { busy, button, command, field, input, number, outcome, say, section } from './parts.js';

export class ActView {
  static title = 'Act';
  section;
  #api;
  #fields = {};
  #changed = []; // functions to call where fields were filled in

  constructor(api) {
    this.#api = api;
    this.section = section('Act', 'Each act is done at once, on every node, and is in the audit list. An act that ends something asks once more.',
      element('div', { class: 'columns pairs' }, this.#publishing(), this.#closing(), this.#revoking(), this.#barring(),
        api.platform ? this.#draining() : ''));
  }

  /** Fills in what a link names: `close`, `revoke`, `user`, `room`, `drain`. */
  show({ close, revoke, user, room, drain } = {}) {
    const given = { drain, close, jti: revoke, user, 'bar-user': user, room, 'bar-room': room };
    const named = Object.entries(given).filter(([name, value]) => value && this.#fields[name]);
    for (const [name, value] of named) this.#fields[name].value = value;
    if (revoke || user) { // of the two one is meant
      this.#fields.jti.value = revoke ?? '';
      this.#fields.user.value = user ?? '';
    }
    for (const changed of this.#changed) changed();
    if (named.length) requestAnimationFrame(() => this.#fields[named[0][0]].closest('form').scrollIntoView({ block: 'nearest' }));
  }

  #field(name, label, attributes = {}, wide = false) {
    this.#fields[name] = input(`act-${name}`, attributes);
    return field(label, this.#fields[name], wide);
  }

  #value(name) { return this.#fields[name].value.trim(); }

  // ---- the acts

  #publishing() {
    const data = element('textarea', { rows: '3', spellcheck: 'false', autocapitalize: 'off', 'data-testid': 'act-data' });
    data.value = '{"title": "a test of the console"}';
    const request = () => ({ method: 'POST', path: '/admin/events', body: this.#api.body({ type: this.#value('type'), data: dataOf(data.value), ...fieldsOf(this.#value('room') || 'tenant') }) });
    return this.#form('publish', 'Publish a test event', request, {
      fields: [this.#field('type', 'Type', { required: 'required', maxlength: '64', value: 'system.warning' }),
        this.#field('room', 'Room', { placeholder: 'circle:7; empty: the tenant', maxlength: '160' }), field('Data (JSON object)', data, true)],
      done: ({ event_id: id, rooms }) => element('span', {}, 'In the log as ', found(id), `, for ${rooms.join(', ')}. `, element('a', { href: fragment('explain', { event_id: id }) }, 'Explain')),
    });
  }

  #closing() {
    const request = () => ({ method: 'DELETE', path: this.#api.path(`/admin/connections/${encodeURIComponent(this.#value('close'))}`) });
    return this.#form('close', 'Close a connection', request, {
      fields: [this.#field('close', 'Connection', { required: 'required', maxlength: '64', placeholder: 'con_…' }, true)],
      confirm: () => `Close ${this.#value('close')}`,
      hint: 'The client gets 4403 and does not come back by itself; its token stays good.',
      done: () => 'Closed.',
    });
  }

  #revoking() {
    const target = () => (this.#value('jti') ? { jti: this.#value('jti') } : { user_id: this.#value('user') });
    const request = () => ({ method: 'POST', path: '/admin/tokens/revoke', body: this.#api.body(target()) });
    return this.#form('revoke', 'Revoke tokens', request, {
      fields: [this.#field('jti', 'Token id (jti)', { maxlength: '128' }), this.#field('user', 'or a user, for all', { maxlength: '128' })],
      confirm: () => (this.#value('jti') ? `Revoke token ${this.#value('jti')}` : `Revoke all tokens of ${this.#value('user')}`),
      check: () => (this.#value('jti') || this.#value('user') ? '' : 'Name a token id or a user.'),
      hint: 'Tokens issued up to now end on every node within 2 seconds; later ones do not.',
      done: ({ disconnected }) => `Revoked. ${disconnected} ${disconnected === 1 ? 'connection' : 'connections'} closed on this node.`,
    });
  }

  #barring() {
    const kind = () => this.#value('bar-room').split(':')[0];
    const request = () => ({
      method: 'POST', path: '/admin/events',
      body: this.#api.body({ type: `${kind()}.member.removed`, data: { user_id: this.#value('bar-user') }, ...fieldsOf(this.#value('bar-room')) }),
    });
    return this.#form('bar', 'Bar a user from a room', request, {
      fields: [this.#field('bar-user', 'User', { required: 'required', maxlength: '128' }), this.#field('bar-room', 'Room', { required: 'required', maxlength: '160', placeholder: 'circle:7' })],
      check: () => (/^(?!user:)[a-z][a-z0-9]*:./.test(this.#value('bar-room')) ? '' : 'Name a room with members, such as circle:7. A user cannot be barred from the tenant\u2019s room or from a user\u2019s own room.'),
      confirm: () => `Bar ${this.#value('bar-user')} from ${this.#value('bar-room')}`,
      hint: 'Publishes that the member was removed: tokens issued before no longer grant the room.',
      done: ({ event_id: id }) => element('span', {}, 'Barred, by the event ', found(id), '.'),
    });
  }

  #draining() {
    const request = () => ({ method: 'POST', path: '/admin/drain', body: { node: this.#value('drain') } });
    return this.#form('drain', 'Drain a node', request, {
      fields: [this.#field('drain', 'Node', { required: 'required', maxlength: '64', placeholder: 'node_…' }, true)],
      confirm: () => `Drain ${this.#value('drain')}`,
      hint: 'Its clients leave one after another, and new ones are refused until it is restarted. They need another node to go to.',
      done: ({ connections, seconds }) => `Draining: ${connections} ${connections === 1 ? 'connection' : 'connections'} over ${number(seconds)} seconds. Then stop or restart it.`,
    });
  }

  // ---- forms

  /** A form with its request as curl; with `confirm`, the first click asks and the second acts. */
  #form(name, title, request, { fields, confirm, check, hint, done }) {
    const submit = button(title, `act-${name}-submit`, true);
    if (confirm) submit.className = '';
    const cancel = button('Cancel', `act-${name}-cancel`);
    const line = outcome(`act-${name}-result`);
    let asked = false;
    const ask = (on) => {
      asked = on;
      cancel.hidden = !on;
      submit.textContent = on ? `Yes: ${confirm()}` : title;
      submit.classList.toggle('danger', on);
    };
    cancel.hidden = true;
    cancel.addEventListener('click', () => { ask(false); say(line, 'Not done.'); submit.focus(); });
    const text = () => {
      try {
        const { method, path, body } = request();
        return curl(method, path, body);
      } catch (error) {
        return error.message;
      }
    };
    const curled = command(text, `act-${name}-curl`);
    const form = element('form', { class: 'card', autocomplete: 'off', 'data-testid': `act-${name}-form` }, element('h3', {}, title), hint ? element('p', { class: 'hint' }, hint) : '',
      element('div', { class: 'fields' }, ...fields), element('div', { class: 'actions' }, submit, cancel, line), curled.box);
    const changed = () => { curled.refresh(); if (asked) ask(false); };
    form.addEventListener('input', changed);
    this.#changed.push(changed);
    form.addEventListener('submit', (submitted) => {
      submitted.preventDefault();
      const problem = check?.() ?? '';
      if (problem) return say(line, problem, 'bad');
      if (confirm && !asked) {
        ask(true);
        return say(line, 'Sure? It cannot be undone.', '');
      }
      if (confirm) ask(false);
      return busy(submit, line, async () => {
        const { method, path, body } = request();
        const answer = await this.#api.send(method, path, body);
        const outcomeOf = done(answer);
        say(line, '', 'good');
        line.append(outcomeOf);
      });
    });
    return form;
  }
}
