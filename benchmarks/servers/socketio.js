// Socket.IO, WebSocket only, with its own rooms: node socketio.js PORT
'use strict';
const { createServer } = require('node:http');
const { Server } = require('socket.io');
const { follow, event, roomsOf } = require('./orders.js');

const http = createServer();
// The pings are put off: the load client does not speak Socket.IO's own.
const io = new Server(http, { transports: ['websocket'], pingInterval: 600_000, serveClient: false });

io.on('connection', (socket) => {
  socket.join(roomsOf(socket.request.url));
});
http.listen({ host: '127.0.0.1', port: Number(process.argv[2]), backlog: 4096 });

follow((pad, at, names) => io.to(names).emit('event', event(pad, at, names)));
