/** Pending commands, each with the callbacks for its reply. */

import { disconnected, GatewayError, tooLarge } from './errors.js';
import { Timer } from './timing.js';
import type { Frame } from './types.js';

const REPLY_DEADLINE = 10_000;

type Done = (data: Frame['data']) => void;
type Failed = (error: GatewayError) => void;

/** The callbacks are called synchronously, before the frames after the reply are handled, which may depend on it. */
export class Commands {
  #send: (text: string) => boolean;
  #rooms: { readonly replaying: boolean };
  #last = 0;
  #pending = new Map<unknown, [Done, Failed, number, Timer]>();
  /** Bytes of one message, by the session's limits. */
  limit: number | undefined;

  /** `send` puts the text on the wire; false where there is none. Replies may be held up by a replay. */
  constructor(send: (text: string) => boolean, rooms: { readonly replaying: boolean }) {
    this.#send = send;
    this.#rooms = rooms;
  }

  ask(type: string, fields: object, done: Done, failed: Failed): void {
    const id = ++this.#last;
    const text = JSON.stringify({ type, id, ...fields });
    const { size } = new Blob([text]);
    if (size > this.limit!) return failed(tooLarge());
    if (!this.#send(text)) return failed(disconnected());
    const timer = new Timer();
    this.#pending.set(id, [done, failed, size, timer]);
    const wait = () => timer.set(REPLY_DEADLINE, () => {
      if (this.#rooms.replaying) wait();
      else this.settle(id, undefined, new GatewayError({ code: 'timeout', message: `no reply to ${type}` }));
    });
    wait();
  }

  /** The command `id` was answered, with an error or without. False where there is none of that id. */
  settle(id: unknown, data: Frame['data'] = {}, error?: GatewayError): boolean {
    const pending = this.#pending.get(id);
    if (!pending) return false;
    pending[3].stop();
    this.#pending.delete(id);
    if (error) pending[1](error);
    else pending[0](data);
    return true;
  }

  /** No reply will come to any, as the connection was closed with `code`. 1009 does not name the message that was too
   *  large; the largest one was too, then. */
  fail(code?: number): void {
    const pending = [...this.#pending];
    const largest = code === 1009 && Math.max(...pending.map(([, each]) => each[2]));
    for (const [id, each] of pending) this.settle(id, undefined, each[2] === largest ? tooLarge() : disconnected());
  }
}
