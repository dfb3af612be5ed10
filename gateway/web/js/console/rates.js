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

/**
 * The tenants of all nodes, the busiest first: by their rates, and where there are none by their connections. A node adds to
 * the rates of a tenant that it had in both readings. @param {Map<string, {node: object, at: number}>} before
 */
export function busiest(nodes, before, at) {
  const found = new Map(); // by tenant
  for (const node of nodes) {
    const earlier = before.get(node.node);
    const known = earlier && earlier.node.started_at === node.started_at ? earlier.node.tenants ?? {} : {};
    for (const [tenant, now] of Object.entries(node.tenants ?? {})) {
      const sum = found.get(tenant) ?? { tenant, connections: 0, waiting: 0, events: undefined, deliveries: undefined };
      sum.connections += now.connections ?? 0;
      sum.waiting = Math.max(sum.waiting, now.waiting ?? 0);
      for (const name of known[tenant] && at > earlier.at ? ['events', 'deliveries'] : []) {
        sum[name] = (sum[name] ?? 0) + Math.max(0, now[name] - known[tenant][name]) / ((at - earlier.at) / 1000);
      }
      found.set(tenant, sum);
    }
  }
  const work = ({ events = 0, deliveries = 0 }) => events + deliveries;
  return [...found.values()].sort((a, b) => work(b) - work(a) || b.connections - a.connections);
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
