/** The tail of a tenant's log as a socket of the gateway's client, which gives it its states, backoff, resume and
 *  freshness. One page is asked for after the other, so it takes never more than the gateway gives in a page. */

const EVERY = 1_000; // milliseconds between two pages

/** A `WebSocket` for the client's options. @param {(after?: string) => Promise<object>} ask  for a page of
 *  `GET /admin/tail` @param {{user_id: string, tenant: string, expires_at: string}} holder */
export const tailSocket = (ask, holder) => class {
  readyState = 0;
  onmessage = null;
  onclose = null;
  onerror = null;
  #cursor;
  #timer;
  #pings = []; // ids; a page is the answer to them

  constructor(url) {
    this.#cursor = new URL(url).searchParams.get('since') ?? undefined; // where the client resumes from
    this.#next();
  }

  send(text) {
    const { type, id } = JSON.parse(text);
    if (type === 'ping') this.#pings.push(id);
    else this.#emit('error', { code: 'unknown_type', message: 'a tail only reads' }, id);
  }

  close() {
    this.readyState = 3;
    clearTimeout(this.#timer);
  }

  async #next() {
    try {
      if (document.visibilityState === 'visible' || this.readyState === 0 || this.#pings.length) this.#hand(await ask(this.#cursor));
      if (this.readyState !== 3) this.#timer = setTimeout(() => this.#next(), EVERY);
    } catch (error) {
      this.#fail(error);
    }
  }

  #hand(page) {
    if (this.readyState === 3) return;
    const resumed = this.#cursor !== undefined;
    this.#cursor = page.cursor;
    if (this.readyState === 0) {
      this.readyState = 1;
      this.#emit('connection.established', { ...holder, subscribed: [], cursor: page.cursor });
    }
    if (page.gap && resumed) this.#emit('stream.gap', { reason: 'log_reset', cursor: page.cursor });
    if (page.passed_over) this.#emit('tail.sampled', { passed_over: page.passed_over });
    for (const event of page.events) this.onmessage?.({ data: JSON.stringify(event) });
    const mark = page.as_of ? { cursor: page.cursor, as_of: page.as_of } : undefined;
    if (mark) this.#emit('stream.mark', mark);
    for (const id of this.#pings.splice(0)) this.#emit('pong', mark ?? {}, id);
  }

  #fail({ status, code, message, retryAfter }) {
    if (this.readyState === 3) return;
    if (status === 429) this.#emit('error', { code, message, retry_after: retryAfter ?? 1 });
    this.close();
    const closed = { 401: 4401, 403: 4403, 422: 4400, 429: 4429 }[status] ?? 1006;
    this.onclose?.({ code: closed, reason: code ?? message });
  }

  #emit(type, data, id) {
    if (this.readyState < 2) this.onmessage?.({ data: JSON.stringify({ type, id, data, timestamp: new Date().toISOString() }) });
  }
};
