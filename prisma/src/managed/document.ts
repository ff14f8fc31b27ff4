import { createHash } from 'node:crypto';

/**
 * A document as it is kept: JSON, with its keys in the order in which they were written.
 *
 * @throws TypeError when it is none.
 */
export function documentText(document: unknown): string {
  const text = JSON.stringify(document) as string | undefined;
  if (text === undefined) throw new TypeError('a managed policy must be a JSON document');
  return text;
}

/** `sha256:` and the hex digest of the document with its keys sorted. @param text JSON */
export function documentHash(text: string): string {
  const sorted = JSON.stringify(JSON.parse(text), (_, value: unknown) => sortKeys(value));
  return `sha256:${createHash('sha256').update(sorted).digest('hex')}`;
}

function sortKeys(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  // A null prototype keeps a key called `__proto__` an ordinary key.
  const sorted = Object.create(null) as Record<string, unknown>;
  for (const key of Object.keys(value).sort()) sorted[key] = (value as Record<string, unknown>)[key];
  return sorted;
}
