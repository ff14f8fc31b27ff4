import { isDeepStrictEqual } from 'node:util';
import type { GatewayConfig } from './schema/gateway-config.ts';

/** What is fixed when the process starts: sockets, the HTTP parser, the connection pool and its housekeeping. */
const FIXED: Readonly<Record<string, (config: GatewayConfig) => unknown>> = {
  'listen.host': ({ listen }) => listen.host,
  'listen.port': ({ listen }) => listen.port,
  'listen.tls': ({ listen }) => listen.tls !== undefined,
  'store.postgres_url': ({ store }) => store.postgres_url,
  'store.username': ({ store }) => store.username,
  'store.password': ({ store }) => store.password,
  'store.max_connections': ({ store }) => store.max_connections,
  'store.connect_timeout_seconds': ({ store }) => store.connect_timeout_seconds,
  'admin.audit_retention_days': ({ admin }) => admin?.audit_retention_days,
  'admin.spend_retention_months': ({ admin }) => admin?.spend_retention_months,
  'admin.identity_retention_days': ({ admin }) => admin?.identity_retention_days,
  metrics: ({ metrics }) => metrics,
  'limits.max_request_header_bytes': ({ limits }) => limits.max_request_header_bytes,
};

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
