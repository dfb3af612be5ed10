/** Rates from counters that are read twice. Pure: no DOM, no clock. */

/** What happened a second between two statuses of a node; undefined where it was started again meanwhile. */
export function rates(before, now, seconds) {
  if (before.started_at !== now.started_at || !(seconds > 0)) return undefined;
  const each = (name) => Object.fromEntries(Object.entries(now[name] ?? {})
    .map(([reason, count]) => [reason, Math.max(0, count - (before[name]?.[reason] ?? 0)) / seconds]));
  const one = (name) => Math.max(0, (now[name] ?? 0) - (before[name] ?? 0)) / seconds;
  return {
    deliveries: one('deliveries'), events: one('events'), cpu: one('cpu_seconds'),
    refusals: each('refusals'), closes: each('closes'), gaps: each('gaps'),
  };
}

/** The upper end of the bucket that holds the percentile, of the samples between two readings, in words. */
export function percentile(now, before, share) {
  if (!now || !before) return undefined;
  const counts = Object.entries(now).map(([end, count]) => [end, Math.max(0, count - (before[end] ?? 0))])
    .sort(([a], [b]) => (a === '+Inf' ? 1 : b === '+Inf' ? -1 : a - b));
  const all = counts.reduce((sum, [, count]) => sum + count, 0);
  if (!all) return undefined;
  let sum = 0;
  const [end] = counts.find(([, count]) => (sum += count) >= all * share);
  if (end === '+Inf') return `> ${counts.at(-2)[0]} s`;
  return `≤ ${Number((end * 1000).toPrecision(3))} ms`;
}
