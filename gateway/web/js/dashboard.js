/** The page: in development mode a pane for each demo tenant, else one pane for a token that is typed in. */

import { administers, claimsOf } from './claims.js';
import { Pane } from './pane.js';
import { setUpPublishing } from './publish.js';
import { TokenForm } from './token_form.js';

const $ = (id) => document.getElementById(id);
const panes = new Map();

/** For tests and for the curious: `__gateway.panes.acme.received` are the event_ids in the order of their arrival (the
 *  last 5,000), `__gateway.panes.acme.client` is the client. */
window.__gateway = { panes: {} };

function addPane(grant) {
  const pane = new Pane($('panes'), grant);
  panes.set(grant.tenant, pane);
  window.__gateway.panes[grant.tenant] = pane;
  $('panes').dataset.count = panes.size;
}

// ---- development mode

async function session(rate) {
  const headers = { 'Content-Type': 'application/json' };
  const reply = await fetch('/dev/session', { method: 'POST', headers, body: JSON.stringify({ rate }) });
  if (reply.status === 404) return null;
  if (!reply.ok) throw new Error(`the gateway answered ${reply.status}`);
  return reply.json();
}

/** @param {object} given one of the session's tenants @param {string} url */
function demoGrant({ tenant, user_id, rooms, foreign_room, token, expires_in }, url) {
  let held = token;
  let until = Date.now() + expires_in * 1000;
  let unused = true;
  let rate; // events a second
  const renew = async () => {
    const given = (await session(rate))?.tenants.find((one) => one.tenant === tenant);
    if (!given) throw new Error('the gateway no longer gives out demo tokens');
    held = given.token;
    until = Date.now() + given.expires_in * 1000;
    return held;
  };
  return {
    tenant, user_id, rooms, foreign_room, url,
    /** The next connection gets so many events a second at most; undefined: as many as the gateway allows. */
    limit: (next) => { rate = next; unused = false; },
    current: async () => (Date.now() < until - 5_000 ? held : renew()),
    // The client asks again only when it needs another one than it has.
    token: async () => { if (!unused) return renew(); unused = false; return held; },
  };
}

// ---- a token typed in

const AHEAD = 120_000; // milliseconds; a client asks for another token not earlier than that before the end of one

async function openTyped() {
  const form = new TokenForm();
  const first = await form.ask();
  addPane(typedGrant(form, first));
  setUpPublishing(panes);
}

/** @param {TokenForm} form @param {{token: string, rooms: string[]}} first */
function typedGrant(form, { token: first, rooms }) {
  const claims = claimsOf(first);
  let held;
  let given; // the last one that the client got
  const hold = (token) => {
    held = token;
    $('console-link').hidden = !administers(token);
  };
  const renew = async (reason) => hold((await form.ask(claims, reason)).token);
  hold(first);
  return {
    tenant: claims.tenant, user_id: claims.sub, rooms, renew,
    url: ownUrl(document.querySelector('meta[name=gateway-websocket]').content),
    current: async () => held,
    token: async () => {
      const left = claimsOf(held).exp * 1000 - Date.now();
      if (given === held && !(left > AHEAD)) await renew('The token expires soon. Enter another one to stay connected.');
      given = held;
      return held;
    },
  };
}

/** On this page's own host: the gateway may be known by several names, but only its own origin may connect. */
function ownUrl(path) {
  const url = new URL(path, location.href);
  url.host = location.host;
  url.protocol = location.protocol.replace('http', 'ws');
  url.search = '';
  return url.href;
}

async function start() {
  let given;
  try {
    given = await session();
  } catch (error) {
    $('notice').textContent = `The gateway cannot be reached (${error.message}). Trying again in 3 s.`;
    $('notice').hidden = false;
    setTimeout(start, 3_000);
    return;
  }
  $('notice').hidden = true;
  if (!given) return openTyped();
  $('lead').hidden = false;
  $('console-link').hidden = false;
  for (const tenant of given.tenants) addPane(demoGrant(tenant, ownUrl(given.ws_url)));
  setUpPublishing(panes);
}

start();
