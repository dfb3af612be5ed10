/** Trace context of events: the publisher's W3C `traceparent`, for OpenTelemetry. */

/** The links from a span that processes an event to the span that published it: for the option `links` of
 *  `tracer.startSpan`. Empty for an event without a trace context. */
export function linksOf({ traceparent }: { readonly traceparent?: string }) {
  const [, traceId, spanId, flags] = traceparent?.split('-') ?? [];
  if (!traceId || !spanId || !flags) return [];
  return [{ context: { traceId, spanId, traceFlags: parseInt(flags, 16), isRemote: true } }];
}
