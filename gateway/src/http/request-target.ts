/** Probes come from inside the cluster, where nobody lists addresses: never subject to `allow_cidrs`, never logged. */
const PROBES = new Set(['/healthz', '/readyz']);

/** The path of a request target, without its query. */
export function pathOf(target: string): string {
  const query = target.indexOf('?');
  return query === -1 ? target : target.slice(0, query);
}

/** Scheme and authority of a target in absolute form. */
const AUTHORITY = /^https?:\/\/[^/?#]*/i;

/**
 * A target in absolute form (`http://host/path`) as the path that it means: servers take both (RFC 9112 §3.2.2). All
 * others stay as they are.
 */
export function originForm(target: string): string {
  if (target.startsWith('/')) return target;
  const authority = AUTHORITY.exec(target)?.[0];
  if (authority === undefined) return target;
  const rest = target.slice(authority.length);
  return rest.startsWith('/') ? rest : `/${rest}`;
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
