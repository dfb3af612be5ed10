/** The reference: /openapi.json and /asyncapi.json as one page, without a library from elsewhere. */

import { Reference } from './reference.js';
import { SocketReference } from './socket.js';
import { Trial } from './trial.js';

const $ = (id) => document.getElementById(id);

async function read(path, token) {
  const reply = await fetch(path, { headers: token ? { Authorization: `Bearer ${token}` } : {} });
  if (!reply.ok) throw new Error(`${path} answered ${reply.status}`);
  return reply.json();
}

/** The WebSocket; with a token also the event types of the contract. */
async function describeSocket(trial, token) {
  const description = await read('/asyncapi.json', token);
  if (token !== trial.token) return; // another one was entered meanwhile
  const reference = new SocketReference(description);
  $('socket').replaceChildren(...reference.sections());
  $('event-types').replaceChildren(...reference.events());
  $('close-codes').replaceChildren(reference.closeCodes());
  $('error-codes').replaceChildren(reference.errorCodes());
  trial.describe(reference);
}

function notify(words) {
  $('notice').textContent = words;
  $('notice').hidden = !words;
}

try {
  const trial = new Trial((token) => describeSocket(trial, token).then(
    () => notify(''),
    (error) => notify(`The contract cannot be read with this token: ${error.message}`)));
  const [http] = await Promise.all([read('/openapi.json'), describeSocket(trial, '')]);
  $('about').textContent = [http.info.title, http.info.version].join(' ');
  $('operations').replaceChildren(...new Reference(http).sections());
  await trial.signIn();
} catch (error) {
  notify(`The description cannot be read: ${error.message}`);
}
