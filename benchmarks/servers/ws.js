// The `ws` package with rooms as a Map of Sets: node ws.js PORT
'use strict';
const { WebSocketServer } = require('ws');
const { follow, event, roomsOf } = require('./orders.js');

const rooms = new Map();
const server = new WebSocketServer({ host: '127.0.0.1', port: Number(process.argv[2]), perMessageDeflate: false, backlog: 4096 });

server.on('connection', (socket, request) => {
  const joined = roomsOf(request.url);
  for (const room of joined) {
    if (!rooms.has(room)) rooms.set(room, new Set());
    rooms.get(room).add(socket);
  }
  socket.on('message', () => {});
  socket.on('error', () => {});
  socket.on('close', () => {
    for (const room of joined) {
      const members = rooms.get(room);
      members.delete(socket);
      if (members.size === 0) rooms.delete(room);
    }
  });
});

follow((pad, at, names) => {
  const data = Buffer.from(JSON.stringify(event(pad, at, names)));
  if (names.length === 1) {
    for (const socket of rooms.get(names[0]) ?? []) socket.send(data, { binary: false });
    return;
  }
  const audience = new Set();
  for (const name of names) for (const socket of rooms.get(name) ?? []) audience.add(socket);
  for (const socket of audience) socket.send(data, { binary: false });
});
