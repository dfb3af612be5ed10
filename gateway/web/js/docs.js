/** The API reference: /openapi.json as a page, without a library from elsewhere. */

import { element } from './element.js';

const METHODS = ['get', 'post', 'put', 'patch', 'delete'];

class Reference {
  constructor(description) {
    this.description = description;
  }

  sections() {
    const byTag = new Map();
    for (const [path, item] of Object.entries(this.description.paths)) {
      for (const method of METHODS.filter((name) => item[name])) {
        const operation = item[method];
        const tag = operation.tags?.[0] ?? 'other';
        const parameters = [...(item.parameters ?? []), ...(operation.parameters ?? [])];
        byTag.set(tag, [...(byTag.get(tag) ?? []), this.#operation(method, path, operation, parameters)]);
      }
    }
    return [...byTag].map(([tag, operations]) => element('section', {}, element('h2', {}, tag), ...operations));
  }

  #operation(method, path, operation, parameters) {
    const parts = [];
    if (operation.description) parts.push(element('p', {}, ...prose(operation.description)));
    if (parameters.length) {
      parts.push(element('h4', {}, 'Parameters'), this.#fields(parameters.map((given) => {
        const { name, in: where, required, schema, description } = this.#resolve(given);
        return { name, required, schema: { ...schema, description: description ?? schema?.description }, note: where };
      })));
    }
    const body = this.#schemaOf(operation.requestBody);
    if (body) parts.push(element('h4', {}, 'Body'), this.#object(body));
    parts.push(element('h4', {}, 'Answers'), ...Object.entries(operation.responses).map(([status, given]) => {
      const answer = this.#resolve(given);
      const schema = status < '300' ? this.#schemaOf(answer) : undefined;
      const line = element('p', { class: 'answer' }, element('code', {}, status), ' ', ...prose(answer.description));
      return schema ? element('div', {}, line, this.#object(schema)) : line;
    }));
    return element('details', { class: 'card operation' },
      element('summary', {},
        element('span', { class: `method ${method}` }, method.toUpperCase()),
        element('code', {}, path),
        element('span', { class: 'hint' }, operation.summary ?? '')),
      ...parts);
  }

  /** The fields of an object, or else the name of what it is. */
  #object(given) {
    const schema = this.#resolve(given);
    if (!schema.properties) return element('p', { class: 'hint' }, this.#type(given));
    const required = new Set(schema.required);
    const fields = Object.entries(schema.properties)
      .map(([name, field]) => ({ name, schema: field, required: required.has(name) }));
    return this.#fields(fields);
  }

  #fields(fields) {
    return element('dl', { class: 'schema' }, ...fields.map(({ name, schema = {}, required, note }) => {
      const about = [note, this.#type(schema), this.#resolve(schema).description].filter(Boolean).join(' · ');
      const optional = required ? '' : element('span', { class: 'hint' }, ' optional');
      return element('div', {}, element('dt', {}, element('code', {}, name), optional), element('dd', {}, ...prose(about)));
    }));
  }

  /** A schema in a few words, such as `list of EventAnswer | EventFailure, at most 1000`. */
  #type(schema) {
    if (schema.$ref) return schema.$ref.split('/').at(-1);
    const choices = schema.anyOf ?? schema.oneOf;
    let words = choices ? choices.map((one) => this.#type(one)).filter((word) => word !== 'null').join(' | ')
      : schema.enum ? schema.enum.map((value) => JSON.stringify(value)).join(' | ')
        : schema.const !== undefined ? JSON.stringify(schema.const)
          : schema.type === 'array' ? `list of ${this.#type(schema.items ?? {})}`
            : schema.type ?? 'anything';
    const least = schema.minimum ?? schema.minItems ?? schema.minLength;
    const most = schema.maximum ?? schema.maxItems ?? schema.maxLength;
    if (least !== undefined) words += `, at least ${least}`;
    if (most !== undefined) words += `, at most ${most}`;
    if (schema.default !== undefined && schema.default !== null) words += `, default ${JSON.stringify(schema.default)}`;
    return words;
  }

  #schemaOf(given) {
    return given && Object.values(this.#resolve(given).content ?? {}).find(({ schema }) => schema)?.schema;
  }

  #resolve(given) {
    if (!given.$ref) return given;
    return given.$ref.slice(2).split('/').reduce((part, name) => part[name], this.description);
  }
}

/** What stands between backticks is code. */
function prose(text) {
  return text.split(/`([^`]+)`/).map((part, index) => (index % 2 ? element('code', {}, part) : part));
}

try {
  const reply = await fetch('/openapi.json');
  if (!reply.ok) throw new Error(`/openapi.json answered ${reply.status}`);
  const description = await reply.json();
  document.getElementById('about').textContent = [description.info.title, description.info.version].join(' ');
  document.getElementById('operations').replaceChildren(...new Reference(description).sections());
} catch (error) {
  const notice = document.getElementById('notice');
  notice.textContent = `The description cannot be read: ${error.message}`;
  notice.hidden = false;
}
