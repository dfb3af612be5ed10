/** The token of a session: fetched, renewed ahead of its end, and replaced once where it was refused. */

import { GatewayError } from './errors.js';
import { now, Timer } from './timing.js';
import type { Notify } from './notify.js';
import type { Frame, Options } from './types.js';

const RENEW_AHEAD = 15_000; // where `token.expiring` does not come
const RETRY_DELAY = 5_000; // after a function that failed

/** The session, as its token uses it. */
interface Host {
  readonly options: Pick<Options, 'token'>;
  readonly notify: Notify;
  command(type: 'auth', fields: { token: string }): Promise<Frame['data']>;
}

export class Token {
  #held: string | undefined;
  #until = Infinity;
  #refused = false;
  #timer = new Timer();
  #connection = 0;
  #host: Host;

  constructor(host: Host) { this.#host = host; }

  /** The current token, or a fresh one. */
  async get(): Promise<string | undefined> {
    const { token } = this.#host.options;
    if (typeof token !== 'function') return token;
    if (!this.#held || now() >= this.#until) this.#held = await token();
    return this.#held;
  }

  /** Whether a fresh token may be tried after a refusal for `reason`: once, until a connection is established. */
  mayRenew(reason: string): boolean {
    if (typeof this.#host.options.token === 'string' || reason === 'token_revoked' || this.#refused) return false;
    this.#refused = true;
    this.#held = undefined;
    return true;
  }

  /** Records that it was accepted, and its expiry `at` (RFC 3339); `clock` is the gateway's time now, since the client's clock
   *  may be wrong. */
  expires(at: string, clock: string): void {
    this.#refused = false;
    const left = Date.parse(at) - Date.parse(clock);
    if (!(left > 0)) return;
    this.#until = now() + left;
    this.#timer.set(left - Math.min(RENEW_AHEAD, left / 2), () => this.refresh());
  }

  /** Fetches a fresh token for the open connection, if there is a token function. */
  async refresh(): Promise<void> {
    const { token: source } = this.#host.options;
    if (typeof source !== 'function') return;
    const connection = this.#connection;
    this.#timer.stop();
    try {
      const token = await source();
      if (connection !== this.#connection) return;
      await this.#host.command('auth', { token });
      this.#held = token;
    } catch (error) {
      if (connection !== this.#connection) return;
      this.#host.notify('onError', error);
      // The function failed, not the token: there is still time.
      if (!(error instanceof GatewayError)) this.#timer.set(RETRY_DELAY, () => this.refresh());
    }
  }

  /** The connection has ended. */
  stop(): void {
    this.#connection += 1;
    this.#timer.stop();
  }
}
