/** The table of the busiest tenants, for operators of all tenants. */

import { element } from '../element.js';
import { fragment } from './links.js';
import { number } from './parts.js';

const SHOWN = 10;
const OTHER = 'other'; // all tenants together that a node does not list

/** @param {object[]} tenants of all nodes, the busiest first. */
export function busiestTenants(tenants) {
  const named = tenants.filter(({ tenant }) => tenant !== OTHER);
  const shown = named.slice(0, SHOWN);
  if (!shown.length) return [heading(), element('p', { class: 'hint' }, 'No tenant has had a connection or an event this hour.')];
  const head = element('tr', {}, ...['Tenant', 'Connec\u00adtions', 'Events/s', 'Deliv\u00aderies/s', 'Waiting'].map((name) => element('th', { scope: 'col' }, name)));
  const table = element('table', { class: 'figures', 'data-testid': 'busiest' }, element('thead', {}, head), element('tbody', {}, ...shown.map(line)));
  const more = named.length > SHOWN ? [element('p', { class: 'hint' }, `${number(named.length - SHOWN)} more are less busy.`)] : [];
  return [heading(), table, ...more];
}

const heading = () => element('h3', {}, 'Busiest tenants');

function line({ tenant, connections, events, deliveries, waiting }) {
  const cells = [number(connections), rate(events), rate(deliveries), waiting ? duration(waiting) : '–'];
  const name = element('th', { scope: 'row' }, element('a', { href: fragment('find', { tenant }) }, tenant));
  return element('tr', { 'data-testid': 'busy-tenant' }, name, ...cells.map((cell) => element('td', {}, cell)));
}

const rate = (value) => (value === undefined ? '…' : number(value));

const duration = (seconds) => (seconds < 1 ? `${number(Math.ceil(seconds * 1_000))} ms` : `${number(seconds)} s`);
