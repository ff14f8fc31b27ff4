import { isIP } from 'node:net';
import type { ClaudeGateway } from '@claude-gateway/crds';

/**
 * The hosts to serve: those that are named, or that of the public URL. Sorted. None for an IP address, which neither an
 * Ingress nor an HTTPRoute can have as a host.
 */
export function hostsOf(
  { spec: { publicURL } }: ClaudeGateway,
  named: readonly string[] | undefined,
): readonly string[] {
  if (named !== undefined) return [...new Set(named)].sort();
  const { hostname } = new URL(publicURL);
  return isIP(hostname) !== 0 || hostname.startsWith('[') ? [] : [hostname];
}
