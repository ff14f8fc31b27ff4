/** Probes come from inside the cluster, where nobody lists addresses: never subject to `allow_cidrs`, never logged. */
const PROBES = new Set(['/healthz', '/readyz']);

/** The path of a request target, without its query. */
export function pathOf(target: string): string {
  const query = target.indexOf('?');
  return query === -1 ? target : target.slice(0, query);
}

/** The longest path in a log line or an error; what is longer was never one of ours. */
const MAX_LOGGED = 200;

/** The path as it may be written down: without its query, which carries codes, and not endless. */
export function loggedPath(target: string): string {
  return pathOf(target).slice(0, MAX_LOGGED);
}

export function isProbe(path: string): boolean {
  return PROBES.has(path);
}
