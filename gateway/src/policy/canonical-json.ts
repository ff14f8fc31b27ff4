import { createHash } from 'node:crypto';
import { isObject, type Json, type JsonObject } from './json.ts';

/**
 * JSON with the keys of every object sorted (by UTF-16 code unit, as `Array.prototype.sort` does) and no white
 * space: what Claude Code hashes. Keys without a value (`undefined`) are left out, as JSON.stringify does.
 */
export function canonicalJson(value: Json): string {
  return JSON.stringify(value, (_key, inner: Json) => (isObject(inner) ? sortKeys(inner) : inner));
}

/** `sha256:` and the hex digest of the settings' canonical JSON: the checksum that the client computes too. */
export function settingsChecksum(settings: JsonObject): string {
  return `sha256:${createHash('sha256').update(canonicalJson(settings)).digest('hex')}`;
}

function sortKeys(object: JsonObject): JsonObject {
  // A null prototype keeps a key called `__proto__` an ordinary key.
  const sorted = Object.create(null) as Record<string, Json>;
  for (const key of Object.keys(object).sort()) sorted[key] = object[key] as Json;
  return sorted;
}
