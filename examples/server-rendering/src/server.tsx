/** The server: renders the state of a room, as the gateway keeps it, with the cursor from which the page goes on. */

import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { renderToString } from 'react-dom/server';
import { GatewayClient } from 'gathering-gateway';
import { App } from './board.js';

const { GATEWAY_URL, GATEWAY_TOKEN, PORT } = process.env;

async function ask(path: string, body?: object) {
  const answer = await fetch(`${GATEWAY_URL}${path}`, {
    method: body ? 'POST' : 'GET',
    headers: { Authorization: `Bearer ${GATEWAY_TOKEN}`, 'Content-Type': 'application/json' },
    body: body && JSON.stringify(body),
  });
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
  return answer.json();
}

async function page() {
  const initial = await ask('/rooms/circle:7/state?limit=1000');
  const url = `${GATEWAY_URL}/ws/dashboard`;
  const html = renderToString(<App client={new GatewayClient({ url })} initial={initial} />); // which is not opened here
  // In a script, `<` could end it.
  const snapshot = JSON.stringify({ url, initial }).replaceAll('<', '\\u003c');
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<link rel="icon" href="data:,">
<title>Tasks</title>
<div id="root">${html}</div>
<script type="application/json" id="snapshot">${snapshot}</script>
<script type="module" src="page.js"></script>`;
}

async function token() {
  // Check your session here: who is logged in, and what may they follow?
  return (await ask('/admin/tokens', { user_id: 'ada', rooms: ['circle:7'], expires_in: 600 })).access_token;
}

const routes: Record<string, [string, () => Promise<string | Buffer>]> = {
  '/': ['text/html', page],
  '/page.js': ['text/javascript', () => readFile('dist/page.js')],
  '/my/gateway-token': ['text/plain', token],
};

createServer(async ({ url }, response) => {
  try {
    const [type, render] = routes[url!] ?? ['text/plain', undefined];
    const body = await render?.();
    response.writeHead(body ? 200 : 404, { 'Content-Type': type, 'Cache-Control': 'no-store' }).end(body);
  } catch (error) {
    console.error(error);
    response.writeHead(502).end();
  }
}).listen(Number(PORT), '127.0.0.1', () => console.log(`http://127.0.0.1:${PORT}/`));
