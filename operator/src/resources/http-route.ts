import { child, type Child, type ChildInput } from './child.ts';
import { hostsOf } from './public-address.ts';
import { HTTP_ROUTES } from './types.ts';

/**
 * None when the spec asks for none, or the API server has no such kind. Needs Gateway API 1.2 or later: before, the standard
 * channel has no timeouts, and the API server refuses an apply with a field that is not declared.
 */
export function httpRoute({ gateway, kinds }: ChildInput): Child | undefined {
  const { metadata, spec } = gateway;
  if (spec.httpRoute === undefined || !kinds.httpRoute) return undefined;
  const { parentRefs, hostnames, labels, annotations } = spec.httpRoute;
  const hosts = hostsOf(gateway, hostnames);
  const rule = {
    matches: [{ path: { type: 'PathPrefix', value: '/' } }],
    // Streams have no end that is known before; 0s is no limit. https://gateway-api.sigs.k8s.io/guides/http-timeouts
    timeouts: { request: '0s' },
    backendRefs: [{ name: metadata.name, port: spec.service.port }],
  };
  const content = { parentRefs, ...(hosts.length > 0 && { hostnames: hosts }), rules: [rule] };
  return child(HTTP_ROUTES, gateway, { spec: content }, { labels, annotations });
}
