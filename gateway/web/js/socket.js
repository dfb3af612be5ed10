/** The WebSocket of an AsyncAPI document: commands with their replies, notices, events, codes. */

import { element } from './element.js';
import { Schemas, prose } from './schemas.js';

export class SocketReference {
  constructor(description) {
    this.description = description;
    this.schemas = new Schemas(description);
    this.channel = description.channels.socket;
  }

  /** Connecting, commands and notices. */
  sections() {
    const { query } = this.channel.bindings.ws;
    const named = Object.entries(query.properties).map(([name, schema]) => ({ name, schema, required: false }));
    return [
      element('section', {},
        element('h2', {}, 'WebSocket'),
        element('p', { class: 'hint' }, ...prose(this.channel.description)),
        element('details', { class: 'card operation', 'data-testid': 'connect' },
          element('summary', {}, element('span', { class: 'method get' }, 'CONNECT'), element('code', {}, this.channel.address)),
          element('h4', {}, 'Query'), this.schemas.fields(named))),
      element('section', { id: 'commands' },
        element('h3', {}, 'Commands that you send'),
        ...this.#operations('receive').map(([, operation]) => this.#command(operation))),
      element('section', { id: 'notices' },
        element('h3', {}, 'Frames that come unasked'),
        ...this.#messagesOf(this.description.operations.notices).map((message) => this.#frame(message, 'FRAME'))),
    ];
  }

  /** The event types. */
  events() {
    return this.#messagesOf(this.description.operations.events).map((message) => this.#frame(message, 'EVENT'));
  }

  /** The event types of the contract, each with the schema of its data. */
  published() {
    return this.#messagesOf(this.description.operations.events)
      .map(({ payload: { properties } }) => ({ type: properties.type.const, version: properties.version.const, data: properties.data }))
      .filter(({ type }) => type);
  }

  closeCodes() {
    const rows = Object.entries(this.channel['x-close-codes'])
      .map(([code, { when, retry, note }]) => [code, when, note ? `${retry}; ${note}` : retry]);
    return table(['code', 'when', 'come back?'], rows);
  }

  errorCodes() {
    const rows = Object.entries(this.channel['x-error-codes']).map(([code, { remedy, retry }]) => [code, remedy, retry]);
    return table(['code', 'what to do', 'again?'], rows);
  }

  #operations(action) {
    return Object.entries(this.description.operations).filter(([, operation]) => operation.action === action);
  }

  #messagesOf({ messages }) {
    return messages.map((reference) => this.schemas.resolve(this.schemas.resolve(reference)));
  }

  #command(operation) {
    const [command] = this.#messagesOf(operation);
    const [reply] = this.#messagesOf(operation.reply);
    return details('SEND', command,
      this.schemas.object(command.payload), ...example(command),
      element('h4', {}, 'Reply: ', element('code', {}, reply.name)),
      element('p', {}, ...prose(reply.summary)), this.#data(reply), ...example(reply));
  }

  #frame(message, word) {
    return details(word, message, element('h4', {}, 'data'), this.#data(message), ...example(message));
  }

  #data({ payload }) {
    return this.schemas.object(payload.properties.data);
  }
}

function details(word, message, ...parts) {
  const version = message.payload.properties?.version?.const;
  return element('details', { class: 'card operation', 'data-message': message.name },
    element('summary', {},
      element('span', { class: 'method' }, word),
      element('code', {}, message.name),
      version ? element('span', { class: 'hint' }, `version ${version}`) : ''),
    element('p', {}, ...prose(message.summary)),
    ...parts);
}

function example(message) {
  return (message.examples ?? []).map(({ payload }) => element('pre', {}, JSON.stringify(payload, null, 2)));
}

function table(heads, rows) {
  const row = (name, cells) => element('tr', {}, ...cells.map((cell) => element(name, {}, ...prose(cell))));
  return element('table', {}, element('thead', {}, row('th', heads)), element('tbody', {}, ...rows.map((cells) => row('td', cells))));
}
