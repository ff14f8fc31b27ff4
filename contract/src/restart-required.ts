import { isDeepStrictEqual } from 'node:util';
import type { GatewayConfig } from './schema/gateway-config.ts';

/** What is fixed when the process starts: sockets, the HTTP parser, the connection pool and its housekeeping. */
const FIXED: Readonly<Record<string, (config: GatewayConfig) => unknown>> = {
  'listen.host': ({ listen }) => listen.host,
  'listen.port': ({ listen }) => listen.port,
  'listen.tls': ({ listen }) => listen.tls !== undefined,
  'store.postgres_url': ({ store }) => withoutCredentials(store),
  'store.max_connections': ({ store }) => store.max_connections,
  'store.connect_timeout_seconds': ({ store }) => store.connect_timeout_seconds,
  'admin.audit_retention_days': ({ admin }) => admin?.audit_retention_days,
  'admin.spend_retention_months': ({ admin }) => admin?.spend_retention_months,
  'admin.identity_retention_days': ({ admin }) => admin?.identity_retention_days,
  proxy: ({ proxy }) => proxy,
  metrics: ({ metrics }) => metrics,
  'limits.max_request_header_bytes': ({ limits }) => limits.max_request_header_bytes,
};

/** Which database it is. As whom we connect is read anew for new connections. */
function withoutCredentials({ postgres_url, username }: GatewayConfig['store']): unknown {
  const url = URL.parse(postgres_url);
  if (url === null) return postgres_url;
  const user = username ?? url.searchParams.get('user') ?? url.username;
  url.username = url.password = '';
  url.searchParams.delete('user');
  url.searchParams.delete('password');
  // The database has the user's name where the URL names none.
  return [url.href, url.pathname.length > 1 ? '' : user];
}

/** Paths that differ and that a reload cannot apply; everything else is applied live. */
export function restartRequired(before: GatewayConfig, after: GatewayConfig): string[] {
  return Object.entries(FIXED)
    .filter(([, read]) => !isDeepStrictEqual(read(before), read(after)))
    .map(([path]) => path);
}

/** What {@link restartRequired} compares, by its path. It may be secret. */
export function restartValues(config: GatewayConfig): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.entries(FIXED).map(([path, read]) => [path, read(config)]));
}
