/** The JSON Schemas of an OpenAPI or AsyncAPI document, in words. */

import { element } from './element.js';

export class Schemas {
  constructor(description) {
    this.description = description;
  }

  /** The fields of an object, or else the name of what it is. */
  object(given) {
    const schema = this.resolve(given);
    const choices = (schema.anyOf ?? schema.oneOf ?? []).map((one) => this.resolve(one));
    if (choices.length && choices.every((one) => one.properties)) return this.object(choices[0]); // the widest is first
    if (!schema.properties) return element('p', { class: 'hint' }, this.type(given));
    const required = new Set(schema.required);
    const fields = Object.entries(schema.properties)
      .map(([name, field]) => ({ name, schema: field, required: required.has(name) }));
    return this.fields(fields);
  }

  fields(fields) {
    return element('dl', { class: 'schema' }, ...fields.map(({ name, schema = {}, required, note }) => {
      const about = [note, this.type(schema), this.resolve(schema).description].filter(Boolean).join(' · ');
      const optional = required ? '' : element('span', { class: 'hint' }, ' optional');
      return element('div', {}, element('dt', {}, element('code', {}, name), optional), element('dd', {}, ...prose(about)));
    }));
  }

  /** A schema in a few words, such as `list of EventResponse | EventFailure, at most 1000`. */
  type(schema) {
    if (schema.$ref) return schema.$ref.split('/').at(-1);
    const choices = schema.anyOf ?? schema.oneOf;
    let words = choices ? choices.map((one) => this.type(one)).filter((word) => word !== 'null').join(' | ')
      : schema.enum ? schema.enum.map((value) => JSON.stringify(value)).join(' | ')
        : schema.const !== undefined ? JSON.stringify(schema.const)
          : schema.type === 'array' ? `list of ${this.type(schema.items ?? {})}`
            : [schema.type ?? 'anything'].flat().join(' | ');
    const least = schema.minimum ?? schema.minItems ?? schema.minLength;
    const most = schema.maximum ?? schema.maxItems ?? schema.maxLength;
    if (least !== undefined) words += `, at least ${least}`;
    if (most !== undefined) words += `, at most ${most}`;
    if (schema.default !== undefined && schema.default !== null) words += `, default ${JSON.stringify(schema.default)}`;
    return words;
  }

  /** A value of the schema, to begin with when one is written. */
  sample(given, depth = 0) {
    const schema = this.resolve(given);
    if (schema.examples?.length) return schema.examples[0];
    if (schema.const !== undefined) return schema.const;
    if (schema.enum) return schema.enum[0];
    const choices = schema.anyOf ?? schema.oneOf;
    if (choices) return this.sample(choices[0], depth);
    const kind = [schema.type].flat()[0];
    if (schema.properties || kind === 'object') {
      if (depth > 3) return {};
      const wanted = Object.entries(schema.properties ?? {}).filter(([name]) => schema.required?.includes(name));
      return Object.fromEntries(wanted.map(([name, field]) => [name, this.sample(field, depth + 1)]));
    }
    return { array: [], integer: schema.minimum ?? 1, number: schema.minimum ?? 1, boolean: true, null: null }[kind] ?? 'text';
  }

  resolve(given) {
    if (!given.$ref) return given;
    return given.$ref.slice(2).split('/').reduce((part, name) => part[name], this.description);
  }
}

/** What stands between backticks is code. */
export function prose(text) {
  return text.split(/`([^`]+)`/).map((part, index) => (index % 2 ? element('code', {}, part) : part));
}
