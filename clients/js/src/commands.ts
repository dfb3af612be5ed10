/** Pending commands, each with the callbacks for its reply. */

import { disconnected, GatewayError, tooLarge } from './errors.js';
import { now, Timer } from './timing.js';
import type { Frame } from './types.js';

const REPLY_DEADLINE = 10_000;

/** `publish` and `presence`, which an application may send by the hundred. The gateway refuses commands over its rate, and
 *  then closes the connection. So these wait, and leave half of the burst to the other commands. */
const PACED = /^p[ur]/;

type Done = (data: Frame['data']) => void;
type Failed = (error: GatewayError) => void;

/** The connection, as commands need it. */
export interface Host {
  /** `data` of its `connection.established`. */
  readonly data: Frame['data'] | undefined;
  /** Sends the text; false where no connection is open. */
  transmit(text: string): boolean;
  /** Replies may be held up by a replay. */
  readonly rooms: { readonly replaying: boolean };
}

/** The callbacks are called synchronously, before the frames after the reply are handled, which may depend on it. */
export class Commands {
  #host: Host;
  #last = 0;
  #pending = new Map<unknown, [Done, Failed, number, Timer]>();
  #waiting: (() => void)[] = [];
  #paidUntil = 0; // by the gateway's rate, for what was sent
  #timer = new Timer();

  constructor(host: Host) { this.#host = host; }

  ask(type: string, fields: object, done: Done, failed: Failed): void {
    const id = ++this.#last;
    const text = JSON.stringify({ type, id, ...fields });
    const { size } = new Blob([text]);
    const { message_bytes, commands_per_second } = this.#host.data?.limits ?? {};
    if (size > message_bytes) return failed(tooLarge());
    const send = () => {
      if (!this.#host.transmit(text)) return failed(disconnected());
      this.#paidUntil = Math.max(this.#paidUntil, now()) + 1000 / commands_per_second;
      const timer = new Timer();
      this.#pending.set(id, [done, failed, size, timer]);
      const wait = () => timer.set(REPLY_DEADLINE, () => {
        if (this.#host.rooms.replaying) wait();
        else this.settle(id, undefined, new GatewayError({ code: 'timeout', message: 'no answer from the gateway' }));
      });
      wait();
    };
    if (!PACED.test(type)) send();
    else if (this.#waiting.push(send) === 1) this.#pace();
  }

  #pace(): void {
    const { commands_per_second, command_burst } = this.#host.data?.limits ?? {};
    while (this.#waiting.length) {
      const early = this.#paidUntil - now() - 500 * command_burst / commands_per_second;
      if (early > 0) return this.#timer.set(early, () => this.#pace());
      this.#waiting.shift()!();
    }
  }

  /** Handles the reply to the command `id`. False where no such command is pending. */
  settle(id: unknown, data: Frame['data'] = {}, error?: GatewayError): boolean {
    const pending = this.#pending.get(id);
    if (!pending) return false;
    pending[3].stop();
    this.#pending.delete(id);
    if (error) pending[1](error);
    else pending[0](data);
    return true;
  }

  /** Fails all commands: the connection was closed with `code`. 1009 does not name the message that was too large, so it is
   *  reported for the largest one. */
  fail(code?: number): void {
    const pending = [...this.#pending];
    const largest = code === 1009 && Math.max(...pending.map(([, each]) => each[2]));
    for (const [id, each] of pending) this.settle(id, undefined, each[2] === largest ? tooLarge() : disconnected());
    for (const send of this.#waiting.splice(0)) send(); // not connected, so they fail
    this.#timer.stop();
    this.#paidUntil = 0;
  }
}
