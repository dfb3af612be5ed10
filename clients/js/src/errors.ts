/** An `error` frame, or a command without a reply. */

/** `code` is one of the protocol's, or `disconnected` or `timeout` where no reply came. */
export class GatewayError extends Error {
  override readonly name = 'GatewayError';
  declare readonly code: string;
  /** The rooms that were refused. */
  declare readonly rooms?: readonly string[];
  /** Seconds. */
  declare readonly retry_after?: number;
  declare readonly limit?: number;

  constructor(fields: Pick<GatewayError, 'code' | 'message' | 'rooms' | 'retry_after' | 'limit'>) {
    super(fields.message);
    Object.assign(this, fields);
  }
}

export const disconnected = () =>
  new GatewayError({ code: 'disconnected', message: 'the connection ended' });

export const tooLarge = () => new GatewayError({ code: 'message_too_large', message: 'send a smaller message' });
