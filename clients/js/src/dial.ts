/** The way to a WebSocket: its URL, and where the token goes. */

import type { Options, Socket } from './types.js';

/** A socket that is connecting. Throws where there is no WebSocket, or the URL is wrong. */
export function dial(options: Options, query: Record<string, string | undefined>, token: string | undefined): Socket {
  const Constructor = options.WebSocket ?? globalThis.WebSocket;
  if (!Constructor && options.fallback) return options.fallback(options, query, token);
  if (!Constructor) throw new Error("no WebSocket: use Node 22, or pass { WebSocket } from 'ws'");
  const url = new URL(options.url, globalThis.location?.href);
  url.protocol = url.protocol.replace('http', 'ws');
  // A browser cannot set headers on a WebSocket; subprotocols are what it can send outside of the URL.
  const inQuery = options.tokenIn === 'query';
  const all = { ...query, client_id: options.clientId, token: inQuery ? token : undefined };
  for (const [name, value] of Object.entries(all)) if (value) url.searchParams.set(name, value);
  return new Constructor(url.href, token && !inQuery ? ['gateway.v1', `gateway.bearer.${token}`] : []);
}
