/** The gateway's side of a socket, driven by hand, and a client in front of it. */

import { afterEach, beforeEach, mock } from 'node:test';

import { connect } from '../../../gateway/web/js/client.js';

/** A WebSocket whose other end is the test. */
export class FakeSocket {
  static all = [];
  static get last() { return FakeSocket.all.at(-1); }
  readyState = 1;
  sent = [];
  constructor(url, protocols) {
    Object.assign(this, { url: new URL(url), protocols });
    FakeSocket.all.push(this);
  }
  send(text) { this.sent.push(JSON.parse(text)); }
  close() { this.readyState = 3; this.closedByClient = true; }
  frame(type, data = {}, more = {}) {
    this.onmessage?.({ data: JSON.stringify({ type, data, timestamp: new Date().toISOString(), ...more }) });
  }
  event(id, more = { circle_id: 1 }) { this.frame('task.created', { id }, { event_id: id, ...more }); }
  /** Answers the last command of a kind. */
  reply(type, data = {}, command = 'subscribe') {
    const { id, rooms } = this.sent.findLast((each) => each.type === command);
    this.frame(type, type === 'subscribed' ? { rooms, recovered: null, ...data } : data, { id });
  }
  asked(type = 'subscribe') { return this.sent.filter((each) => each.type === type); }
  established(data = {}) {
    const expires_at = new Date(Date.now() + 3_600_000).toISOString();
    const subscribed = ['user:ada'];
    this.frame('connection.established', { cursor: 'head', user_id: 'ada', subscribed, expires_at, ...data });
  }
  subscribed(data = {}, more = {}) {
    const rooms = this.url.searchParams.get('rooms')?.split(',') ?? [];
    this.frame('subscribed', { rooms, cursor: 'head', recovered: null, replayed: 0, ...data }, more);
  }
  drop(code = 1006, reason = '') { this.readyState = 3; this.onclose?.({ code, reason }); }
  param(name) { return this.url.searchParams.get(name); }
  get token() { return this.protocols.find((each) => each.startsWith('gateway.bearer.'))?.slice(15); }
}

export const settle = async () => { for (let i = 0; i < 20; i += 1) await Promise.resolve(); };
export const pass = async (ms) => { mock.timers.tick(ms); await settle(); };

export let seen;
export async function start(options = {}) {
  seen = { events: [], states: [], gaps: [], errors: [] };
  const client = connect({
    url: 'http://gateway.test/ws/dashboard', token: 'jwt', rooms: ['circle:1', 'project:5'],
    WebSocket: FakeSocket, random: () => 0.5,
    onEvent: (event) => seen.events.push(event.event_id), onState: (change) => seen.states.push(change),
    onGap: (gap) => seen.gaps.push(gap),
    onError: (error) => seen.errors.push(error),
    ...options,
  });
  await settle();
  return client;
}

/** A live client with a joined connection. */
export async function live(options = {}) {
  const client = await start(options);
  FakeSocket.last.established();
  FakeSocket.last.subscribed();
  return client;
}

/** The connection is lost; the next one is established. */
export async function reconnect(data = {}) {
  FakeSocket.last.drop();
  await pass(20_000);
  FakeSocket.last.established({ cursor: 'evt_20', ...data });
}

const START = 1_700_000_000_000;

beforeEach(() => {
  FakeSocket.all = [];
  mock.timers.enable({ apis: ['setTimeout', 'Date'], now: START });
  mock.method(performance, 'now', () => Date.now() - START);
});
afterEach(() => {
  mock.timers.reset();
  mock.restoreAll();
});
