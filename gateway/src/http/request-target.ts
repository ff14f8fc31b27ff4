/** Probes come from inside the cluster, where nobody lists addresses: never subject to `allow_cidrs`, never logged. */
const PROBES = new Set(['/healthz', '/readyz']);

/** The path of a request target, without its query. */
export function pathOf(target: string): string {
  const query = target.indexOf('?');
  return query === -1 ? target : target.slice(0, query);
}

export function isProbe(path: string): boolean {
  return PROBES.has(path);
}
