/** The form for a token: the first opens the page's pane, and each later one renews it without a reload. */

import { claimsOf } from './claims.js';

const $ = (id) => document.getElementById(id);

export class TokenForm {
  #held; // the claims of the token to replace
  #answer; // resolves the promise of `ask`
  #asking;

  constructor() {
    $('token-form').addEventListener('submit', (submitted) => { submitted.preventDefault(); this.#submit(); });
  }

  /** Shows the form until a token is entered, of the same user and tenant as `held`, where there is one.
   *  @param {{sub: string, tenant: string}} [held]  claims @param {string} [reason]
   *  @returns {Promise<{token: string, rooms: string[]}>} */
  ask(held, reason = '') {
    this.#held = held;
    $('token-title').textContent = held ? `Another token for ${held.sub} of ${held.tenant}` : 'Connect with a token';
    $('token-rooms-label').hidden = Boolean(held);
    this.#say(reason, '');
    $('token-form').hidden = false;
    if (!held) $('token-input').focus(); // later the reader may be typing elsewhere
    this.#asking ??= new Promise((resolve) => { this.#answer = resolve; });
    return this.#asking;
  }

  #submit() {
    const token = $('token-input').value.trim();
    $('token-input').value = '';
    const claims = claimsOf(token);
    if (!claims.tenant) return this.#say('Not a token of a gateway: it has no tenant.', 'bad');
    if (this.#held && (claims.tenant !== this.#held.tenant || claims.sub !== this.#held.sub)) {
      return this.#say(`A token of ${claims.sub} of ${claims.tenant}: enter one of the same user and tenant.`, 'bad');
    }
    const typed = $('token-rooms').value.split(/[\s,]+/).filter(Boolean);
    $('token-form').hidden = true;
    this.#asking = undefined;
    return this.#answer({ token, rooms: typed.length ? typed : (claims.rooms ?? []).filter((room) => !room.includes('*')) });
  }

  #say(text, tone) {
    $('token-result').textContent = text;
    $('token-result').dataset.tone = tone;
  }
}
