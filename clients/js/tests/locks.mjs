/** The Web Locks of one origin, which Node does not have. */
export class Locks {
  queues = new Map();
  request(name, ...given) {
    const callback = given.pop();
    const { ifAvailable, steal, signal } = given.pop() ?? {};
    const queue = this.queues.get(name) ?? this.queues.set(name, []).get(name);
    if (ifAvailable && queue.length) return Promise.resolve(callback(null));
    return new Promise((resolve, reject) => {
      const lock = { callback, resolve, reject };
      const drop = () => {
        const first = queue[0] === lock;
        if (queue.includes(lock)) queue.splice(queue.indexOf(lock), 1);
        if (first && queue.length) this.#grant(queue);
      };
      Object.assign(lock, { drop });
      signal?.addEventListener('abort', () => { if (!lock.held) { drop(); reject(signal.reason); } });
      if (steal && queue.length) queue.shift().reject(new DOMException('stolen', 'AbortError'));
      if (steal) queue.unshift(lock);
      else queue.push(lock);
      if (queue[0] === lock) this.#grant(queue);
    });
  }
  #grant([lock]) {
    lock.held = true;
    Promise.resolve(lock.callback({})).then((value) => { lock.drop(); lock.resolve(value); });
  }
}
