import { createHash } from 'node:crypto';
import { restartValues, type GatewayConfig } from '@claude-gateway/contract';
import type { RenderedConfig } from './gateway-config.ts';
import { byObject, type Resolved } from './references.ts';

/**
 * Changes with what a running gateway cannot take over: what its socket, parser and connection pool are made from, and
 * files that it reads by their path, once. It follows certificates of the listener and `${file:…}` by itself.
 *
 * @returns SHA-256, hexadecimal.
 */
export function restartHash(config: GatewayConfig, rendered: RenderedConfig, resolved: Resolved): string {
  const followed = new Set([config.listen.tls?.cert, config.listen.tls?.key]);
  const files = rendered.files
    .filter(({ byPath, path }) => byPath && !followed.has(path))
    .toSorted(byObject)
    .map(({ kind, name, key, path }) => [path, resolved(kind, name, key) ?? null]);
  const values = Object.entries(restartValues(config)).map(([path, value]) => [path, value ?? null]);
  return createHash('sha256').update(JSON.stringify({ values, files })).digest('hex');
}
