import { child, type Child, type ChildInput } from './child.ts';
import { hostsOf } from './public-address.ts';
import { INGRESSES } from './types.ts';

/** Longest silence on a connection, in seconds: the first token of a long answer may take minutes. */
const SILENCE_SECONDS = '3600';

/** None when the spec asks for none. */
export function ingress(input: ChildInput): Child | undefined {
  const { gateway } = input;
  const { metadata, spec } = gateway;
  if (spec.ingress === undefined) return undefined;
  const { className, tls, labels, annotations } = spec.ingress;
  const hosts = hostsOf(gateway, spec.ingress.hosts);
  const backend = { service: { name: metadata.name, port: { number: spec.service.port } } };
  const http = { paths: [{ path: '/', pathType: 'Prefix', backend }] };
  const content = {
    ...(className !== undefined && { ingressClassName: className }),
    ...(tls !== undefined && {
      tls: [{ ...(hosts.length > 0 && { hosts }), secretName: tls.secretName }],
    }),
    rules: hosts.length === 0 ? [{ http }] : hosts.map((host) => ({ host, http })),
  };
  return child(
    INGRESSES,
    gateway,
    { spec: content },
    { labels, annotations: { ...CONTOUR_DEFAULTS, ...nginxDefaults(input), ...annotations } },
  );
}

/**
 * For Contour, whose Envoy cuts every answer that is not complete after 15 seconds.
 * https://projectcontour.io/docs/main/config/annotations/
 */
const CONTOUR_DEFAULTS = { 'projectcontour.io/response-timeout': 'infinity' } as const;

/**
 * For ingress-nginx, whose defaults collect answers before they pass them on, cut streams after a minute of silence, and
 * refuse bodies above 1 MiB. Other controllers do not look at them.
 * https://kubernetes.github.io/ingress-nginx/user-guide/nginx-configuration/annotations/
 */
function nginxDefaults({ gateway: { spec } }: ChildInput): Record<string, string> {
  const prefix = 'nginx.ingress.kubernetes.io';
  return {
    // https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_buffering
    [`${prefix}/proxy-buffering`]: 'off',
    // https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_request_buffering
    [`${prefix}/proxy-request-buffering`]: 'off',
    // https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_read_timeout
    [`${prefix}/proxy-read-timeout`]: SILENCE_SECONDS,
    // https://nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_send_timeout
    [`${prefix}/proxy-send-timeout`]: SILENCE_SECONDS,
    // https://nginx.org/en/docs/http/ngx_http_core_module.html#client_max_body_size
    [`${prefix}/proxy-body-size`]: String(spec.requestLimits.maxBodyBytes),
    // https://kubernetes.github.io/ingress-nginx/user-guide/nginx-configuration/annotations/#backend-protocol
    ...(spec.listen.tls !== undefined && { [`${prefix}/backend-protocol`]: 'HTTPS' }),
  };
}
