/** Configuration: the settings in force on this node, where other nodes have others, and the advice of `gateway check` about all. */

import { element } from '../element.js';
import { busy, button, field, input, missing, outcome, row, rows, say, section } from './parts.js';

export class ConfigurationView {
  static title = 'Configuration';
  section;
  #api;
  #answer;
  #changed = element('input', { type: 'checkbox', checked: 'checked', 'data-testid': 'only-changed' });
  #filter = input('setting-filter', { type: 'search', placeholder: 'name, value or meaning' });
  #refresh = button('Refresh', 'configuration-refresh');
  #line = outcome('configuration-result');
  #advice = element('ul', { class: 'advice', 'aria-label': 'Advice', 'data-testid': 'advice' });
  #list = rows('Settings', [], 'settings');

  constructor(api) {
    this.#api = api;
    this.#refresh.addEventListener('click', () => this.show());
    for (const control of [this.#changed, this.#filter]) control.addEventListener('input', () => this.#paint());
    this.section = section('Configuration', 'The settings of the node that answers, without secrets; where other nodes have other values; and the advice of gateway check about all nodes.',
      this.#advice,
      element('div', { class: 'bar' }, field('Filter', this.#filter, true),
        element('label', { class: 'check' }, this.#changed, 'Only what differs from the default or between nodes'), this.#refresh, this.#line),
      this.#list);
  }

  show() {
    if (!this.#api.platform) {
      say(this.#line, 'The settings are those of all tenants: a token needs the scope platform to read them.');
      return undefined;
    }
    return busy(this.#refresh, this.#line, async () => {
      this.#answer = await this.#api.get('/admin/configuration', { tenant: '' });
      this.#advice.replaceChildren(...this.#answer.warnings.map((warning) => advice(warning, Object.keys(this.#answer.versions))));
      this.#paint();
    });
  }

  #paint() {
    if (!this.#answer) return;
    const { node, version, versions, settings, warnings } = this.#answer;
    const wanted = this.#filter.value.trim().toLowerCase();
    const chosen = settings.filter((setting) => (!this.#changed.checked || setting.changed || differs(setting))
      && `${setting.name} ${shown(setting.value)} ${setting.description}`.toLowerCase().includes(wanted));
    this.#list.replaceChildren(...chosen.map(settingRow));
    const advised = warnings.length ? `${warnings.length} to look at` : 'no advice';
    const nodes = Object.keys(versions).length;
    const different = settings.filter(differs).length;
    const compared = nodes > 1 ? `; ${different || 'none'} ${different > 1 ? 'differ' : 'differs'} between ${nodes} nodes` : '';
    const mixed = new Set(Object.values(versions)).size > 1 ? ' Not all nodes have this version.' : '';
    const doubts = missing(this.#answer);
    say(this.#line, `${chosen.length} of ${settings.length} settings of ${node}, version ${version}; ${advised}${compared}.${mixed}${doubts}`, doubts && 'bad');
  }
}

/** A warning; the nodes are named where it is not one about all. */
function advice({ message, nodes }, all) {
  const where = nodes.length < all.length ? [', ', element('b', {}, `on ${nodes.join(', ')}`)] : [];
  return element('li', { 'data-testid': 'warning' }, message, ...where);
}

const differs = ({ elsewhere }) => Object.keys(elsewhere).length > 0;

function settingRow({ name, description, secret, set, value, default: usual, changed, elsewhere }) {
  return row({
    setting: element('code', {}, name),
    value: element('b', {}, secret ? (set ? 'set (secret)' : 'not set') : shown(value)),
    usual: changed && !secret ? element('span', { class: 'hint' }, `default ${shown(usual)}`) : '',
    elsewhere: differs({ elsewhere }) ? element('b', { class: 'bad' }, otherwise(elsewhere, secret)) : '',
    meaning: element('span', { class: 'hint' }, description),
  }, { 'data-testid': 'setting', class: changed ? 'changed' : '' });
}

/** The values of the other nodes; nodes with the same one together. */
function otherwise(elsewhere, secret) {
  const nodes = new Map(); // by value
  for (const [node, value] of Object.entries(elsewhere)) {
    const text = secret ? 'another secret' : shown(value);
    nodes.set(text, [...nodes.get(text) ?? [], node]);
  }
  return [...nodes].map(([text, names]) => `${text} on ${names.join(', ')}`).join('; ');
}

function shown(value) {
  if (value === null || value === '') return 'empty';
  return Array.isArray(value) ? value.join(', ') || 'empty' : String(value);
}
