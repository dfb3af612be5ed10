/** The console: signs in with an administrator's token, and shows one view at a time, as the address' fragment says. */

import { element } from '../element.js';
import { ActView } from './act.js';
import { Api } from './api.js';
import { AuditView } from './audit.js';
import { ConfigurationView } from './configuration.js';
import { ExplainView } from './explain.js';
import { FindView } from './find.js';
import { parse } from './links.js';
import { LiveView } from './live.js';
import { NowView } from './now.js';
import { TokensView } from './tokens.js';

const $ = (id) => document.getElementById(id);

/** In the order of the navigation. */
const VIEWS = { now: NowView, find: FindView, live: LiveView, explain: ExplainView, act: ActView, tokens: TokensView, configuration: ConfigurationView, audit: AuditView };

class Console {
  #api;
  #views = new Map();
  #current;

  constructor(api) {
    this.#api = api;
    $('sign-in').remove();
    $('frame').classList.add('signed-in');
    const links = Object.entries(VIEWS).map(([name, { title }]) => element('a', { href: `#${name}` }, title));
    $('views').append(...links);
    $('views').hidden = false;
    $('holder').textContent = `${api.holder.user_id} of ${api.holder.tenant}${api.platform ? ', operator of all tenants' : ''}`;
    if (api.platform) this.#offerTenants();
    addEventListener('hashchange', () => this.#show(true));
    this.#show(false);
  }

  #offerTenants() {
    $('tenant-form').hidden = false;
    $('tenant').value = this.#api.tenant;
    const choose = () => {
      this.#api.tenant = $('tenant').value.trim() || this.#api.holder.tenant;
      $('tenant').value = this.#api.tenant;
      if (parse(location.hash).values.tenant) location.hash = this.#current; // the fragment's tenant would win
      else this.#show(false);
    };
    this.#api.get('/admin/tenants', { tenant: '', limit: 200 })
      .then(({ tenants }) => $('tenants').replaceChildren(...tenants.map(({ tenant }) => new Option(tenant, tenant))))
      .catch(() => {}); // a name can be typed all the same
    $('tenant').addEventListener('change', choose);
    $('tenant-form').addEventListener('submit', (submitted) => { submitted.preventDefault(); choose(); });
  }

  /** Shows the view of the fragment. Its heading gets the focus where the reader came by a link. */
  #show(moved) {
    const { name, values } = parse(location.hash);
    const shown = Object.hasOwn(VIEWS, name) ? name : Object.keys(VIEWS)[0];
    if (values.tenant && this.#api.platform) this.#api.tenant = $('tenant').value = values.tenant;
    for (const link of $('views').children) {
      if (link.getAttribute('href') === `#${shown}`) link.setAttribute('aria-current', 'page');
      else link.removeAttribute('aria-current');
    }
    if (this.#current && this.#current !== shown) this.#views.get(this.#current).leave?.();
    for (const [other, { section }] of this.#views) section.hidden = other !== shown;
    let view = this.#views.get(shown);
    if (!view) {
      view = new VIEWS[shown](this.#api);
      view.section.dataset.testid = `view-${shown}`;
      this.#views.set(shown, view);
      $('content').append(view.section);
    }
    this.#current = shown;
    document.title = `gathering-gateway – ${VIEWS[shown].title}`;
    view.show(values);
    if (moved) view.section.querySelector('h2').focus();
  }
}

$('sign-in').addEventListener('submit', async (submitted) => {
  submitted.preventDefault();
  const token = $('token').value.trim();
  $('token').value = '';
  $('sign-in-result').dataset.tone = '';
  $('sign-in-result').textContent = 'Signing in …';
  try {
    new Console(await Api.signIn(token));
  } catch (error) {
    $('sign-in-result').dataset.tone = 'bad';
    $('sign-in-result').textContent = error.message;
  }
});
$('skip').addEventListener('click', (clicked) => { clicked.preventDefault(); $('content').focus(); });
$('token').focus();
