/** Configuration: the settings in force on this node, and what `gateway check` advises. */

import { element } from '../element.js';
import { busy, button, field, input, outcome, row, rows, say, section } from './parts.js';

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
    this.section = section('Configuration', 'The settings in force on this node, without secrets, and the advice of gateway check.',
      this.#advice,
      element('div', { class: 'bar' }, field('Filter', this.#filter),
        element('label', { class: 'check' }, this.#changed, 'Only what differs from the default'), this.#refresh, this.#line),
      this.#list);
  }

  show() {
    if (!this.#api.platform) {
      say(this.#line, 'The settings are those of all tenants: a token needs the scope platform to read them.');
      return undefined;
    }
    return busy(this.#refresh, this.#line, async () => {
      this.#answer = await this.#api.get('/admin/configuration', { tenant: '' });
      this.#advice.replaceChildren(...this.#answer.warnings.map((text) => element('li', {}, text)));
      this.#paint();
    });
  }

  #paint() {
    if (!this.#answer) return;
    const { node, version, settings, warnings } = this.#answer;
    const wanted = this.#filter.value.trim().toLowerCase();
    const chosen = settings.filter((setting) => (!this.#changed.checked || setting.changed)
      && `${setting.name} ${shown(setting.value)} ${setting.description}`.toLowerCase().includes(wanted));
    this.#list.replaceChildren(...chosen.map(settingRow));
    const advice = warnings.length ? `${warnings.length} to look at` : 'no advice';
    say(this.#line, `${chosen.length} of ${settings.length} settings; node ${node}, version ${version}; ${advice}.`);
  }
}

function settingRow({ name, description, secret, set, value, default: usual, changed }) {
  return row({
    setting: element('code', {}, name),
    value: element('b', {}, secret ? (set ? 'set (secret)' : 'not set') : shown(value)),
    usual: changed && !secret ? element('span', { class: 'hint' }, `default ${shown(usual)}`) : '',
    meaning: element('span', { class: 'hint' }, description),
  }, { 'data-testid': 'setting', class: changed ? 'changed' : '' });
}

function shown(value) {
  if (value === null || value === '') return 'empty';
  return Array.isArray(value) ? value.join(', ') || 'empty' : String(value);
}
