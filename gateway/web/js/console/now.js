/** Now: the nodes and the tenant, read again every few seconds while it is shown. */

import { element } from '../element.js';
import { busiestTenants } from './busiest.js';
import { fragment } from './links.js';
import { facts, missing, number, outcome, say, section, time } from './parts.js';
import { busiest, percentile, rates } from './rates.js';

const EVERY = 3_000; // milliseconds from an answer to the next question
const SILENCE = 3_000; // milliseconds without an answer from which on it is shown

export class NowView {
  static title = 'Now';
  section;
  #api;
  #reading = 0; // the number of the reading that is shown; answers to an earlier one are dropped
  #timer;
  #ticker;
  #askedAt; // since when an answer is awaited
  #answeredAt; // what is shown is of then
  #before = new Map(); // by node: its last status, and when it came
  #state = element('p', { class: 'pill', 'data-state': 'connecting', 'data-testid': 'now-state' }, 'reading');
  #line = outcome('now-result');
  #nodes = element('div', { class: 'columns', 'data-testid': 'nodes' });
  #statsBefore; // the last answer about the tenant, and when it came
  #busiest = element('div', { class: 'card', 'data-testid': 'busiest-now', hidden: 'hidden' });
  #tenant = element('div', { class: 'card', 'data-testid': 'tenant-now' });

  constructor(api) {
    this.#api = api;
    this.section = section('Now', 'Is it up, how busy is it, which refusals are there? Read again every 3 seconds.',
      element('div', { class: 'bar' }, this.#state, this.#line), this.#nodes, this.#busiest, this.#tenant);
  }

  show() {
    this.leave();
    this.#ticker = setInterval(() => this.#tick(), 1_000);
    return this.#read(this.#reading);
  }

  leave() {
    this.#reading += 1;
    this.#askedAt = undefined;
    clearTimeout(this.#timer);
    clearInterval(this.#ticker);
  }

  async #read(reading) {
    if (document.visibilityState === 'visible') {
      this.#askedAt ??= performance.now();
      const answers = Promise.all([this.#api.get('/admin/nodes', { tenant: '' }), this.#api.get('/admin/stats', { limit: 1 })]);
      const shown = await answers.then((both) => () => this.#paint(...both), (error) => () => this.#fail(error));
      if (this.#reading !== reading) return; // left, or shown again meanwhile
      shown();
    }
    this.#timer = setTimeout(() => this.#read(reading), EVERY);
  }

  #paint({ nodes, silent, partial }, stats) {
    const at = performance.now();
    this.#askedAt = undefined;
    this.#answeredAt = new Date();
    this.#busiest.hidden = !nodes.some((node) => node.tenants);
    this.#busiest.replaceChildren(...busiestTenants(busiest(nodes, this.#before, at)));
    this.#nodes.replaceChildren(...nodes.map((node) => this.#node(node, at)), ...silent.map(silentNode));
    for (const name of this.#before.keys()) if (!nodes.some(({ node }) => node === name)) this.#before.delete(name);
    this.#tenant.replaceChildren(...tenantNow(stats, this.#statsBefore, at));
    this.#statsBefore = { stats, at };
    const wrong = silent.length || partial || nodes.some((node) => !node.ready);
    const state = nodes.every((node) => node.ready) ? 'Every node that answers is ready.' : 'Not every node is ready.';
    say(this.#line, state + missing({ silent, partial }), wrong ? 'bad' : 'good');
    this.#tell('live', `as of ${this.#answeredAt.toLocaleTimeString()}`);
  }

  /** An answer that is a refusal ends the silence; what is shown is old all the same. */
  #fail(error) {
    if (!error.status) return this.#fallSilent('no answer');
    this.#askedAt = undefined;
    this.#outdate(`Not read: ${error.message}. Trying again.`);
    return this.#tell('closed', 'not read');
  }

  #tick() {
    const silent = performance.now() - (this.#askedAt ?? Infinity);
    if (silent >= SILENCE) this.#fallSilent(`no answer for ${Math.floor(silent / 1_000)} s`);
  }

  #fallSilent(text) {
    this.#outdate('The gateway does not answer.');
    this.#tell('closed', text);
  }

  /** What was read is shown as that of then. Said once: the seconds are in the state, which is not announced. */
  #outdate(text) {
    const of = this.#answeredAt ? ` Shown is the state of ${this.#answeredAt.toLocaleTimeString()}.` : '';
    if (this.#line.textContent !== text + of) say(this.#line, text + of, 'bad');
    for (const pill of this.#nodes.querySelectorAll('.pill[data-state="live"]')) {
      pill.dataset.state = 'connecting';
      pill.textContent = `was ${pill.textContent}`;
    }
  }

  #tell(state, text) {
    this.#state.dataset.state = state;
    this.#state.textContent = text;
  }

  #node(node, at) {
    const before = this.#before.get(node.node);
    this.#before.set(node.node, { node, at });
    const rate = before && rates(before.node, node, (at - before.at) / 1000);
    const state = node.draining ? 'draining' : node.ready ? 'ready' : 'not ready';
    const head = element('header', { class: 'pane-head' }, element('h3', {}, node.node),
      element('p', { class: 'pill', 'data-state': node.ready ? 'live' : 'closed', 'data-testid': 'node-state' }, state));
    const known = [['version', node.version], ['started', time(node.started_at)], ['log', node.log_ready ? 'takes events' : 'does not take events'],
      ...(node.problem && !node.draining ? [['problem', node.problem]] : [])];
    if (node.connections === undefined) return element('article', { class: 'card node-now', 'data-testid': 'node' }, head, facts(known));
    const { websocket = 0, sse = 0 } = node.connections;
    const lag = percentile(node.loop_lag, before?.node.loop_lag, 0.99);
    const counts = tiles([
      ['Connections', number(websocket + sse), 'connections'], ['Behind', number(node.behind), 'behind'],
      ['Deliveries/s', rate ? number(rate.deliveries) : '…', 'deliveries'], ['Events/s', rate ? number(rate.events) : '…', 'events'],
      ['Loop lag p99', lag === undefined ? '…' : lag, 'loop-lag'], ['Log lag', node.log_lag === undefined ? 'unknown' : `${number(node.log_lag)} s`, 'log-lag'],
    ]);
    const about = facts([...known,
      ['WebSocket, SSE', `${number(websocket)}, ${number(sse)}`], ['windows', `${number(node.log_events)} events, ${bytes(node.log_bytes)}`],
      ['memory', bytes(node.memory_bytes)], ['CPU', rate ? `${Math.round(rate.cpu * 100)} %` : '…'],
    ]);
    return element('article', { class: 'card node-now', 'data-testid': 'node' }, head, counts, about,
      element('div', { class: 'reasons' }, byReason('Refusals', node.refusals, rate?.refusals, 'refusals'),
        byReason('Closed by code', node.closes, rate?.closes, 'closes'), byReason('Gaps', node.gaps, rate?.gaps, 'gaps')),
      node.draining ? '' : element('p', { class: 'ways' }, element('a', { href: fragment('act', { drain: node.node }) }, 'Drain …')));
  }
}

export const tiles = (pairs) => element('dl', { class: 'counts' }, ...pairs.map(([name, value, testid]) =>
  element('div', {}, element('dt', {}, name), element('dd', { 'data-testid': `now-${testid}` }, value))));

function byReason(title, counted = {}, recent = {}, testid) {
  const most = Object.entries(counted).sort(([, a], [, b]) => b - a);
  if (!most.length) return element('div', {}, element('h4', {}, title), element('p', { class: 'hint' }, 'None since the start.'));
  return element('div', {}, element('h4', {}, title), facts(most.map(([reason, count]) => [
    reason, element('span', {}, element('b', {}, number(count)), recent[reason] ? ` · ${number(recent[reason])}/s now` : ''),
  ]), testid));
}

function tenantNow(stats, before, at) {
  const known = before?.stats.tenant === stats.tenant && at > before.at;
  const rate = (name) => (known ? number(Math.max(0, stats[name] - before.stats[name]) / ((at - before.at) / 1000)) : '…');
  return [element('h3', {}, `Tenant ${stats.tenant}`), tiles([
    ['Connections', number(stats.active_connections), 'tenant-connections'], ['Users', number(stats.active_users), 'tenant-users'],
    ['Rooms', number(stats.active_rooms), 'tenant-rooms'], ['Events/s', rate('total_broadcasts'), 'tenant-events'],
    ['Messages/s', rate('total_messages_sent'), 'tenant-messages'], ['Events kept', number(stats.log_events), 'tenant-kept'],
  ]), facts([['log', bytes(stats.log_bytes)], ['published', `${number(stats.total_broadcasts)} events since the nodes started`]])];
}

const silentNode = (name) => element('article', { class: 'card node-now', 'data-testid': 'silent-node' }, element('header', { class: 'pane-head' },
  element('h3', {}, name), element('p', { class: 'pill', 'data-state': 'closed' }, 'does not answer')));

export function bytes(count) {
  if (count === undefined || count === null) return undefined;
  if (count < 10_240) return `${number(count)} B`;
  return count < 10_485_760 ? `${number(count / 1024)} KiB` : `${number(count / 1_048_576)} MiB`;
}
