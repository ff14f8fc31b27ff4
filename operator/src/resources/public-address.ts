import { isIP } from 'node:net';
import type { ClaudeGateway } from '@claude-gateway/crds';

/** Of a public URL, what routes are made from. */
export interface PublicAddress {
  /** Absent for an IP address, which neither an Ingress nor an HTTPRoute can have as a host. */
  readonly host: string | undefined;
  /** `/`, or a path that does not end in one. */
  readonly path: string;
}

export function publicAddressOf({ spec: { publicURL } }: ClaudeGateway): PublicAddress {
  const { hostname, pathname } = new URL(publicURL);
  const isAddress = isIP(hostname) !== 0 || hostname.startsWith('[');
  return { host: isAddress ? undefined : hostname, path: pathname.replace(/(?<=.)\/+$/, '') || '/' };
}

/** The hosts to serve: those that are named, or that of the public URL. Sorted. */
export function hostsOf(gateway: ClaudeGateway, named: readonly string[] | undefined): readonly string[] {
  const { host } = publicAddressOf(gateway);
  return [...new Set(named ?? (host === undefined ? [] : [host]))].sort();
}
