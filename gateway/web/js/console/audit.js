/** Audit: the last acts of administrators. */

import { element } from '../element.js';
import { found, valueOf } from './links.js';
import { busy, button, missing, outcome, row, rows, say, section, time } from './parts.js';

const PAGE = 100;

export class AuditView {
  static title = 'Audit';
  section;
  #api;
  #list = rows('Acts, newest first', [], 'acts');
  #more = button('Earlier', 'audit-more');
  #refresh = button('Refresh', 'audit-refresh');
  #line = outcome('audit-result');
  #next;

  constructor(api) {
    this.#api = api;
    this.#more.addEventListener('click', () => busy(this.#more, this.#line, () => this.#load(this.#next)));
    this.#refresh.addEventListener('click', () => this.show());
    this.section = section('Audit', 'What administrators did on all nodes, newest first: the last 1,000 acts of each since it started. The logs have all of them.',
      element('div', { class: 'bar' }, this.#refresh, this.#line), this.#list, this.#more);
  }

  show() { return busy(this.#refresh, this.#line, () => this.#load()); }

  async #load(before) {
    const page = await this.#api.get('/admin/audit', { limit: PAGE, before });
    if (before === undefined) this.#list.replaceChildren();
    this.#list.append(...page.acts.map(act));
    this.#next = page.next;
    this.#more.hidden = page.next === null;
    const count = this.#list.childElementCount;
    const counted = count ? `${count} ${count === 1 ? 'act' : 'acts'}` : 'No acts yet';
    const doubts = missing(page);
    say(this.#line, `${counted} on ${page.nodes.length} ${page.nodes.length === 1 ? 'node' : 'nodes'}.${doubts}`, doubts && 'bad');
  }
}

export function act({ node, at, event, by_user_id: by, by_tenant: byTenant, by_jti: jti, address, tenant, target }) {
  const details = Object.entries(target).flatMap(([name, value]) => [element('span', { class: 'pair' }, `${name} `, valueOf(name, value)), ' ']);
  return row({
    time: time(at),
    event: element('code', {}, event),
    by: element('span', {}, found(by, { tenant: byTenant }), byTenant === tenant ? '' : ` of ${byTenant}`),
    tenant: element('span', { class: 'hint' }, `tenant ${tenant}`),
    target: element('span', {}, ...details),
    origin: element('span', { class: 'hint' }, [address, jti && `token ${jti}`, node].filter(Boolean).join(', ')),
  }, { 'data-testid': 'act' });
}
