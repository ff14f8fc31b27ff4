import { createHash, scryptSync } from 'node:crypto';
import { restartValues, type GatewayConfig } from '@claude-gateway/contract';
import type { RenderedConfig } from './gateway-config.ts';
import { byObject, type Resolved } from './references.ts';

/**
 * Changes with what a running gateway cannot take over: what its socket, parser and connection pool are made from, and
 * files that it reads by their path, once. It follows certificates of the listener and `${file:…}` by itself.
 *
 * @param uid Of the gateway: equal configurations of two do not show as such.
 * @returns 32 bytes, hexadecimal. Secrets are in it, and pods are read by more people than Secrets are: trying guesses
 *   takes as long as scrypt does for each.
 */
export function restartHash(
  config: GatewayConfig,
  rendered: RenderedConfig,
  resolved: Resolved,
  uid: string,
): string {
  const followed = new Set([config.listen.tls?.cert, config.listen.tls?.key]);
  const files = rendered.files
    .filter(({ byPath, path }) => byPath && !followed.has(path))
    .toSorted(byObject)
    .map(({ kind, name, key, path }) => [path, resolved(kind, name, key) ?? null]);
  const values = Object.entries(restartValues(config)).map(([path, value]) => [path, value ?? null]);
  return hardened(createHash('sha256').update(JSON.stringify({ values, files })).digest('hex'), uid);
}

/** By salt and digest: most reconciliations find what the last one had. */
const known = new Map<string, string>();
const MOST_KNOWN = 1_000;

function hardened(digest: string, salt: string): string {
  const key = `${salt} ${digest}`;
  let hash = known.get(key);
  if (hash === undefined) {
    // Node.js' own parameters: 16 MiB and some 40 ms for each guess. https://www.rfc-editor.org/rfc/rfc7914
    hash = scryptSync(digest, salt, 32).toString('hex');
    if (known.size >= MOST_KNOWN) known.clear();
    known.set(key, hash);
  }
  return hash;
}
