/** The gateway's HTTP interface with one token, which is kept in this module's memory only. */

import { quoted } from '../drafting.js';

const DEADLINE = 10_000; // milliseconds for an answer; the gateway itself gives up after a few seconds

/** An answer that is not good; the message is for people. */
export class Problem extends Error {
  constructor(status, { code, detail, title, retry_after: retryAfter } = {}) {
    super([code ?? `HTTP ${status}`, detail ?? title].filter(Boolean).join(': '));
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter;
  }
}

export class Api {
  /** The tenant that views are about; only an operator of all tenants can choose another one than its own. */
  tenant;
  /** Its rights, as `POST /admin/tokens/inspect` answers. */
  holder;
  #token;

  constructor(token) { this.#token = token; }

  /** Throws where the token is not an administrator's. */
  static async signIn(token) {
    const api = new Api(token.replace(/^Bearer\s+/i, ''));
    const { accepted, rights, reason, explanation } = await api.post('/admin/tokens/inspect', { token: api.#token });
    if (!accepted) throw new Problem(401, { code: reason, detail: explanation });
    api.holder = rights;
    api.tenant = rights.tenant;
    return api;
  }

  get platform() { return this.holder.scope.split(' ').includes('platform'); }

  get(path, query = {}) { return this.#ask('GET', this.path(path, query)); }

  post(path, body) { return this.#ask('POST', path, body); }

  /** A request with a path as `path` makes it. */
  send(method, path, body) { return this.#ask(method, path, body); }

  /** The path with its query. The tenant is in it where it is not the token's own. */
  path(path, query = {}) {
    const all = { tenant: this.#foreignTenant, ...query };
    const given = Object.entries(all).filter(([, value]) => value !== undefined && value !== null && value !== '');
    return given.length ? `${path}?${new URLSearchParams(given)}` : path;
  }

  /** A body with the tenant, likewise. */
  body(fields) { return this.#foreignTenant ? { ...fields, tenant: this.tenant } : fields; }

  get #foreignTenant() { return this.tenant === this.holder?.tenant ? undefined : this.tenant; }

  async #ask(method, path, body) {
    const headers = { Authorization: `Bearer ${this.#token}` };
    if (body !== undefined) headers['Content-Type'] = 'application/json';
    const signal = AbortSignal.timeout(DEADLINE);
    let reply;
    let text;
    try {
      reply = await fetch(path, { method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body) });
      text = await reply.text();
    } catch {
      throw new Error('the gateway does not answer');
    }
    const answer = parsed(text);
    if (!reply.ok) throw new Problem(reply.status, answer);
    return answer;
  }
}

/** The answer; empty where it is no JSON, as a proxy's error page. */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}

/** The request as a command for a shell that has the token in `$TOKEN`. */
export function curl(method, path, body) {
  const lines = [`curl -sS ${method === 'GET' ? '' : `-X ${method} `}${quoted(`${location.origin}${path}`)}`, '-H "Authorization: Bearer $TOKEN"'];
  if (body !== undefined) lines.push("-H 'Content-Type: application/json'", `-d ${quoted(JSON.stringify(body))}`);
  return lines.join(' \\\n  ');
}
