/** Drafts of events that are typed in: the fields that route them, their data, and their way into a shell or the
 *  clipboard. */

/** The id as the gateway's own publishers write it: a number where it is one. */
export const idOf = (kind, text) => (kind !== 'user' && /^(0|[1-9]\d{0,14})$/.test(text) ? Number(text) : text);

/** The field of an event that routes it to the room: none for `tenant`. Throws for what is no room. */
export function fieldsOf(room) {
  if (room === 'tenant') return {};
  const [, kind, id] = /^([a-z][a-z0-9]*):(.+)$/s.exec(room) ?? [];
  if (!kind) throw new Error('The room: write a kind, a colon and an id, such as circle:7; or tenant.');
  return { [`${kind}_id`]: idOf(kind, id) };
}

/** The data of an event. Throws for what is no JSON object. */
export function dataOf(text) {
  try {
    const data = JSON.parse(text || '{}');
    if (data !== null && typeof data === 'object' && !Array.isArray(data)) return data;
  } catch { /* as below */ }
  throw new Error('The data must be a JSON object, such as {"title": "Hello"}.');
}

/** The text as one word of a shell. */
export const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** Puts the text into the clipboard; false where the browser does not let this page. */
export async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch { // no permission, or a page that is neither https nor loopback
    const area = document.createElement('textarea');
    area.className = 'sr-only';
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand('copy');
    area.remove();
    return done;
  }
}
