// Orders to a server that publishes from inside: lines `<count> <pad> <at> <room>...` on standard input.
'use strict';

/** Publish what is ordered: the events of one line in one turn of the loop. */
exports.follow = (publish) => {
  const lines = [];
  let rest = '';
  const next = () => {
    const [count, pad, at, ...rooms] = lines.shift().split(' ');
    for (let i = 0; i < Number(count); i++) publish(Number(pad), at, rooms);
    if (lines.length) setImmediate(next);
  };
  process.stdin.on('data', (data) => {
    const parts = (rest + data).split('\n');
    rest = parts.pop();
    const idle = lines.length === 0;
    lines.push(...parts);
    if (idle && lines.length) next();
  });
};

let published = 0;

/** An event of the gateway's shape, published now, that fell due at `at`. */
exports.event = (pad, at, rooms) => {
  const event = {
    type: 'task.completed',
    data: { at: at.padStart(20, '0'), pad: 'x'.repeat(pad) },
  };
  for (const room of rooms) {
    const [kind, name] = room.split(':');
    event[`${kind}_id`] = Number(name);
  }
  event.event_id = `evt_${String(++published).padStart(28, '0')}`;
  event.timestamp = new Date().toISOString();
  return event;
};

/** The rooms that a client asks for in its address. */
exports.roomsOf = (url) => new URL(url, 'http://localhost').searchParams.get('rooms').split(',');
