/** Node service: keeps `board.json` current with the events of a room. It begins with a snapshot of the database, and
 *  loads another one wherever events were lost. */

import { readFile } from 'node:fs/promises';
import { renameSync, writeFileSync } from 'node:fs';
import { connect } from 'gathering-gateway';
import { WebSocket } from 'ws';

const client = connect({
  url: `${process.env.GATEWAY_URL}/ws/dashboard`,
  token: process.env.GATEWAY_TOKEN,
  WebSocket, // Node 22 has one itself
  onState: ({ state, reason = '' }) => console.log(state, reason),
  onError: (error) => console.error(error.message),
});

let board = {};

function write() {
  writeFileSync('board.draft', JSON.stringify(board));
  renameSync('board.draft', 'board.json'); // atomic: no reader finds half a file
}

client.room('circle:7', {
  // In place of a query of your database. It contains all that was published before.
  load: async () => JSON.parse(await readFile('tasks.json', 'utf8')),
  onLoad: (tasks) => {
    board = tasks;
    write();
  },
  onEvent: ({ type, data }) => {
    board[data.task] = type === 'task.completed' ? 'done' : 'open'; // a fact and no count: it may be in the snapshot too
    write();
  },
});

process.once('SIGTERM', () => client.close());
