/** Parts that several views are made of. All text goes into text nodes. */

import { copied } from '../drafting.js';
import { element } from '../element.js';

/** The section of a view, hidden or shown as a whole. */
export function section(title, hint, ...children) {
  return element('section', { class: 'view' }, element('h2', { tabindex: '-1' }, title), element('p', { class: 'hint' }, hint), ...children);
}

/** A field with its label. @param {HTMLElement} control */
export const field = (label, control, wide = false) => element('label', wide ? { class: 'wide' } : {}, label, control);

export const input = (testid, attributes = {}) => element('input', {
  type: 'text', spellcheck: 'false', autocapitalize: 'off', autocomplete: 'off', 'data-testid': testid, ...attributes,
});

export const button = (text, testid, primary = false) => element('button', { type: primary ? 'submit' : 'button', class: primary ? 'primary' : '', 'data-testid': testid }, text);

/** A status line, announced by screen readers (role=status). */
export const outcome = (testid) => element('p', { class: 'result', role: 'status', 'data-testid': testid });

export function say(line, text, tone = '') {
  line.textContent = text;
  line.dataset.tone = tone;
}

/** Pairs of names and values. Values are text or elements; undefined ones are left out. */
export function facts(pairs, testid) {
  const shown = pairs.filter(([, value]) => value !== undefined && value !== null && value !== '');
  return element('dl', { class: 'facts', 'data-testid': testid }, ...shown.map(([name, value]) =>
    element('div', {}, element('dt', {}, name), element('dd', {}, value))));
}

/** Rows of cells, each with its label for narrow screens. @param {[string, Node|string][][]} rows */
export function rows(label, items, testid) {
  return element('ul', { class: 'lines', 'aria-label': label, 'data-testid': testid }, ...items);
}

/** A row: its cells by label. */
export function row(cells, attributes = {}) {
  return element('li', attributes, ...Object.entries(cells).filter(([, value]) => value !== '' && value !== undefined && value !== null)
    .map(([label, value]) => element('span', { class: `cell ${label}`, 'data-label': label }, element('span', { class: 'sr-only' }, `${label} `), value)));
}

/** A command to copy, in a box that opens. @param {() => string} text */
export function command(text, testid) {
  const shown = element('pre', { tabindex: '0', 'aria-label': 'The command', 'data-testid': testid && `${testid}-text` });
  const copy = button('Copy', testid && `${testid}-copy`);
  const result = outcome();
  copy.addEventListener('click', async () => say(result, ...(await copied(text()) ? ['Copied.', 'good'] : ['The browser does not let this page copy.', 'bad'])));
  const box = element('details', { class: 'command', 'data-testid': testid }, element('summary', {}, 'As curl'), shown, element('div', { class: 'actions' }, copy, result));
  const refresh = () => { shown.textContent = text(); };
  box.addEventListener('toggle', refresh);
  return { box, refresh };
}

/** What an answer lacks, for the end of its status line. */
export function missing({ silent, partial }) {
  if (silent.length) return ` No answer from ${silent.join(', ')}.`;
  return partial ? ' Other nodes may be out of reach.' : '';
}

/** A time of RFC 3339 in the reader's time zone, of today without the date; the whole of it as a title. */
export function time(text) {
  const date = new Date(text);
  const today = date.toDateString() === new Date().toDateString();
  const shown = Number.isNaN(date.getTime()) ? text : date.toLocaleString([], { ...(today ? {} : { dateStyle: 'short' }), timeStyle: 'medium' });
  return element('time', { datetime: text, title: text }, shown);
}

/** A number with its noun. */
export const counted = (count, noun) => `${number(count)} ${noun}${count === 1 ? '' : 's'}`;

export const number = (value) => value.toLocaleString([], { maximumFractionDigits: 1 });

/** Runs what a button or form starts: no second time meanwhile, and a failure is shown. */
export async function busy(control, line, work) {
  if (control.disabled) return;
  control.disabled = true;
  say(line, 'Working …');
  try {
    await work();
  } catch (error) {
    say(line, error.message, 'bad');
  } finally {
    control.disabled = false;
  }
}
