/** Links within the console: the view and its values are in the fragment, which no server sees. */

import { element } from '../element.js';

/** The fragment of a view, such as `#find?q=ada`. Values that are undefined are left out. */
export function fragment(name, values = {}) {
  const query = new URLSearchParams(Object.entries(values).filter(([, value]) => value !== undefined && value !== null));
  return query.size ? `#${name}?${query}` : `#${name}`;
}

/** @returns {{name: string, values: Record<string, string>}} */
export function parse(hash) {
  const [, name, query] = /^#?([^?]*)\??(.*)$/s.exec(hash);
  return { name, values: Object.fromEntries(new URLSearchParams(query)) };
}

/** A link to what is known about a user, a room, a connection, an event or a token's id. */
export const found = (text, values = {}) => element('a', { href: fragment('find', { q: text, ...values }), class: 'found' }, text);

/** Fields whose values can be found. */
const FOUND = new Set(['user_id', 'by_user_id', 'connection_id', 'jti', 'by_jti', 'event_id', 'room']);

/** A field's value: a link where it can be found, else text. */
export function valueOf(name, value) {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  if (FOUND.has(name)) return found(text);
  if (name !== 'rooms') return text;
  return element('span', {}, ...text.split(',').filter(Boolean).flatMap((room, at) => [at ? ', ' : '', room.includes('*') ? room : found(room)]));
}
