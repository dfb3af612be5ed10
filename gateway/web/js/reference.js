/** The HTTP routes of an OpenAPI document. */

import { element } from './element.js';
import { Schemas, prose } from './schemas.js';

const METHODS = ['get', 'post', 'put', 'patch', 'delete'];

/** The sections of an OpenAPI document, by tag. */
export class Reference {
  constructor(description) {
    this.description = description;
    this.schemas = new Schemas(description);
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
      parts.push(element('h4', {}, 'Parameters'), this.schemas.fields(parameters.map((given) => {
        const { name, in: where, required, schema, description } = this.schemas.resolve(given);
        return { name, required, schema: { ...schema, description: description ?? schema?.description }, note: where };
      })));
    }
    const body = this.#schemaOf(operation.requestBody);
    if (body) parts.push(element('h4', {}, 'Body'), this.schemas.object(body));
    parts.push(element('h4', {}, 'Answers'), ...Object.entries(operation.responses).map(([status, given]) => {
      const answer = this.schemas.resolve(given);
      const schema = status < '300' ? this.#schemaOf(answer) : undefined;
      const line = element('p', { class: 'answer' }, element('code', {}, status), ' ', ...prose(answer.description));
      return schema ? element('div', {}, line, this.schemas.object(schema)) : line;
    }));
    return element('details', { class: 'card operation' },
      element('summary', {},
        element('span', { class: `method ${method}` }, method.toUpperCase()),
        element('code', {}, path),
        element('span', { class: 'hint' }, operation.summary ?? '')),
      ...parts);
  }

  #schemaOf(given) {
    return given && Object.values(this.schemas.resolve(given).content ?? {}).find(({ schema }) => schema)?.schema;
  }
}
