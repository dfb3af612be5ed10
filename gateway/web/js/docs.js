/** The reference: /openapi.json and /asyncapi.json as one page, without a library from elsewhere. */

import { Reference } from './reference.js';
import { SocketReference } from './socket.js';
import { Trial } from './trial.js';

const $ = (id) => document.getElementById(id);

async function read(path) {
  const reply = await fetch(path);
  if (!reply.ok) throw new Error(`${path} answered ${reply.status}`);
  return reply.json();
}

try {
  const [http, socket] = await Promise.all([read('/openapi.json'), read('/asyncapi.json')]);
  const reference = new SocketReference(socket);
  $('about').textContent = [http.info.title, http.info.version].join(' ');
  $('socket').replaceChildren(...reference.sections());
  $('event-types').replaceChildren(...reference.events());
  $('close-codes').replaceChildren(reference.closeCodes());
  $('error-codes').replaceChildren(reference.errorCodes());
  $('operations').replaceChildren(...new Reference(http).sections());
  new Trial(reference);
} catch (error) {
  $('notice').textContent = `The description cannot be read: ${error.message}`;
  $('notice').hidden = false;
}
