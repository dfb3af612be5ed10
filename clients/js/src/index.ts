/** Client of the gathering gateway. */

export { connect, GatewayClient } from './client.js';
export { CLOSE_CODES, type Retry } from './codes.js';
export { GatewayError } from './errors.js';
export { applyEvent } from './items.js';
export { backoff } from './timing.js';
export type * from './types.js';
