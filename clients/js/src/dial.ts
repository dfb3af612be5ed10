/** The way to a WebSocket: its URL, and where the token goes. */

import { GatewayError } from './errors.js';
import type { Options, Socket } from './types.js';

const ROOMS_IN_URL = 2_000; // a request line stays under the usual 8 KiB; more rooms are asked for by command

export const fitsUrl = (rooms: readonly string[]): boolean => rooms.join().length <= ROOMS_IN_URL;

const absolute = (url: string | URL): URL => new URL(url, globalThis.location?.href);

/** An HTTP route beside the WebSocket: `tickets` for `/ws/dashboard` is `/tickets`. */
export function route(url: string | URL, path: string): URL {
  const found = new URL(`../${path}`, absolute(url));
  found.protocol = found.protocol.replace('ws', 'http');
  found.search = '';
  return found;
}

/** A one-time ticket for the token, so that neither URL nor header of the WebSocket has it. Throws `GatewayError`. */
export async function ticketFor(url: string | URL, token: string): Promise<string> {
  const reply = await fetch(route(url, 'tickets'), { method: 'POST', headers: { Authorization: `Bearer ${token}` } });
  const body = await reply.json();
  if (reply.ok) return body.ticket;
  throw new GatewayError({
    code: body.code, message: body.detail ?? body.title, retry_after: Number(reply.headers.get('Retry-After')),
  });
}

/** A socket that is connecting. Throws where there is no WebSocket, or the URL is wrong. */
export function dial(
  { url, tokenIn, WebSocket = globalThis.WebSocket }: Pick<Options, 'url' | 'tokenIn' | 'WebSocket'>,
  query: Record<string, string | undefined>,
  token: string | undefined,
): Socket {
  if (!WebSocket) {
    throw new Error("this platform has no WebSocket; install the package ws and pass { WebSocket } from 'ws', or use Node 22");
  }
  const target = absolute(url);
  target.protocol = target.protocol.replace('http', 'ws');
  const protocols: string[] = [];
  // A browser cannot set headers on a WebSocket; subprotocols are what it can send outside of the URL.
  if (token && tokenIn === 'query') query = { ...query, token };
  else if (token && tokenIn !== 'ticket') protocols.push('gateway.v1', `gateway.bearer.${token}`);
  for (const [name, value] of Object.entries(query)) if (value) target.searchParams.set(name, value);
  return new WebSocket(target.href, protocols);
}
