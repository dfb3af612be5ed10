/** Commands on their way, each with the promise of its reply. */

import { disconnected, GatewayError } from './errors.js';
import type { Leave, Replay } from './resume.js';
import { Timers } from './timing.js';
import type { Frame } from './types.js';

const REPLY_DEADLINE = 10_000;

/** A command that waits for its reply; what it asked for, where the reply changes rooms. */
export interface Pending {
  resolve: (data: Frame['data']) => void;
  reject: (error: GatewayError) => void;
  replay?: Replay;
  leave?: Leave;
}

export class Commands {
  #last = 0;
  #pending = new Map<unknown, Pending>();
  #timers = new Timers();

  /** `send` puts the text on the wire; false where there is none. While `busy`, replies may be held up by a replay. */
  constructor(private send: (text: string) => boolean, private busy: () => boolean) {}

  ask(type: string, fields: object, more: Pick<Pending, 'replay' | 'leave'> = {}): Promise<Frame['data']> {
    return new Promise((resolve, reject) => {
      const id = ++this.#last;
      if (!this.send(JSON.stringify({ type, id, ...fields }))) return reject(disconnected());
      this.#pending.set(id, { resolve, reject, ...more });
      const wait = () => this.#timers.set(id, REPLY_DEADLINE, () => {
        if (this.busy()) return wait();
        this.take(id)!.reject(new GatewayError({ code: 'timeout', message: `no reply to ${type}` }));
      });
      wait();
    });
  }

  /** The command that a reply with this `id` answers; it waits no more. */
  take(id: unknown): Pending | undefined {
    const pending = this.#pending.get(id);
    if (pending) this.#timers.clear(id as number);
    this.#pending.delete(id);
    return pending;
  }

  /** Rejects all: no reply will come. */
  fail(): void {
    for (const id of [...this.#pending.keys()]) this.take(id)!.reject(disconnected());
  }
}
