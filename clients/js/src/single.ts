/** Everything but the React hooks: what `gateway/web/js/client.js` is built from. */

export * from './index.js';
export { share } from './share.js';
export { eventStream } from './sse.js';
export { linksOf } from './tracing.js';
