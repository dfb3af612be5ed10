/** Tokens: what one says and may do, and issuing one. */

import { copied } from '../drafting.js';
import { element } from '../element.js';
import { curl } from './api.js';
import { found, fragment, valueOf } from './links.js';
import { busy, button, command, facts, field, input, outcome, say, section, time } from './parts.js';

const TIMES = new Set(['iat', 'exp', 'nbf', 'auth_time']);

export class TokensView {
  static title = 'Tokens';
  section;
  #api;

  constructor(api) {
    this.#api = api;
    this.section = section('Tokens', 'See what a token says and may do, or why it is refused; issue one.',
      element('div', { class: 'columns' }, this.#inspection(), this.#issue()));
  }

  show() {}

  // ---- inspect

  #inspection() {
    const pasted = input('inspect-token', { type: 'password', required: 'required', maxlength: '65536' });
    const submit = button('Inspect', 'inspect-submit', true);
    const line = outcome('inspect-result');
    const details = element('div', { 'data-testid': 'inspect-details' });
    const form = element('form', { class: 'card', autocomplete: 'off' }, element('h3', {}, 'Inspect'),
      element('div', { class: 'fields' }, field('Token', pasted, true)),
      element('div', { class: 'actions' }, submit, line), details);
    form.addEventListener('submit', (submitted) => {
      submitted.preventDefault();
      const token = pasted.value;
      pasted.value = '';
      busy(submit, line, async () => {
        details.replaceChildren();
        const answer = await this.#api.post('/admin/tokens/inspect', { token });
        if (answer.accepted) say(line, 'Accepted.', 'good');
        else say(line, `Refused: ${answer.reason}: ${answer.explanation}`, 'bad');
        details.replaceChildren(...this.#described(answer));
      });
    });
    return form;
  }

  #described({ accepted, rights, header, claims }) {
    const parts = [];
    if (rights) {
      const tenant = rights.tenant;
      parts.push(element('h4', {}, 'It may'), facts([
        ['user', found(rights.user_id, { tenant })], ['tenant', tenant], ['scope', rights.scope || 'none'],
        ['follows', rights.follows], ['publishes', rights.publishes], ['ends', time(rights.expires_at)],
        ['revoked by', rights.revocable_by],
      ], 'rights'));
    }
    for (const [title, members] of [['Claims', claims], ['Header', header]]) {
      if (!members) continue;
      parts.push(element('h4', {}, accepted ? title : `${title}, not verified`),
        facts(Object.entries(members).map(([name, text]) => [name, claim(name, text)]), title.toLowerCase()));
    }
    const jti = claims && plain(claims.jti);
    if (accepted && typeof jti === 'string') parts.push(element('p', { class: 'ways' }, element('a', { href: fragment('act', { revoke: jti, tenant: rights.tenant }) }, 'Revoke this token …')));
    return parts;
  }

  // ---- issue

  #issue() {
    const user = input('issue-user', { required: 'required', maxlength: '128' });
    const rooms = input('issue-rooms', { placeholder: 'circle:1, project:*, tenant' });
    const seconds = input('issue-seconds', { type: 'number', min: '1', placeholder: 'longest' });
    const scopes = ['subscribe', 'publish', 'admin', 'platform'].map((scope) => element('input', {
      type: 'checkbox', value: scope, checked: scope === 'subscribe' && 'checked', 'data-testid': `issue-${scope}`,
    }));
    const submit = button('Issue', 'issue-submit', true);
    const line = outcome('issue-result');
    const copy = button('Copy the token', 'issue-copy');
    const issued = element('div', { 'data-testid': 'issued' });
    copy.hidden = true;
    let token = '';
    copy.addEventListener('click', async () => {
      const done = await copied(token);
      say(line, done ? 'Copied: treat it as a secret.' : 'The browser does not let this page copy.', done ? 'good' : 'bad');
    });
    const body = () => this.#api.body({
      user_id: user.value.trim(),
      rooms: rooms.value.split(/[\s,]+/).filter(Boolean),
      scope: scopes.filter((box) => box.checked).map((box) => box.value).join(' '),
      ...(seconds.value ? { expires_in: Number(seconds.value) } : {}),
    });
    const curled = command(() => curl('POST', '/admin/tokens', body()), 'issue-curl');
    const form = element('form', { class: 'card', autocomplete: 'off' }, element('h3', {}, 'Issue'),
      element('div', { class: 'fields' }, field('User', user), field('Seconds', seconds), field('Rooms', rooms, true),
        element('fieldset', { class: 'wide' }, element('legend', {}, 'Scope'), ...scopes.map((box) => element('label', { class: 'check' }, box, box.value)))),
      element('div', { class: 'actions' }, submit, copy, line), issued, curled.box);
    form.addEventListener('input', curled.refresh);
    form.addEventListener('submit', (submitted) => {
      submitted.preventDefault();
      busy(submit, line, async () => {
        copy.hidden = true;
        issued.replaceChildren();
        const answer = await this.#api.post('/admin/tokens', body());
        token = answer.access_token;
        copy.hidden = false;
        say(line, 'Issued. It is not shown: copy it.', 'good');
        issued.replaceChildren(facts([
          ['jti', found(answer.jti)], ['tenant', answer.tenant], ['rooms', answer.rooms.join(', ') || 'none'],
          ['scope', answer.scope], ['seconds', String(answer.expires_in)],
        ]));
      });
    });
    return form;
  }
}

/** A claim: a link where it can be found, a date beside a time. */
function claim(name, text) {
  const value = plain(text);
  if (TIMES.has(name) && typeof value === 'number' && value < 1e11) return element('span', {}, `${text} (`, time(new Date(value * 1000).toISOString()), ')');
  if (name === 'sub' && typeof value === 'string') return found(value);
  return name === 'jti' && typeof value === 'string' ? valueOf('jti', value) : text;
}

function plain(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
