import { createHash } from 'node:crypto';

/** Longest text in bytes that goes into the key of an index as it is: a key of several columns has 2,704 bytes for all. */
const MAX_KEY_BYTES = 512;
/** What is left of a longer one, in front of its digest. In characters of at most four bytes. */
const KEPT_CHARACTERS = 96;

/**
 * PostgreSQL's texts hold neither NUL nor half of a surrogate pair; what other people wrote may have both. Each becomes
 * U+FFFD and is not left out, so that `ada\0` does not become `ada`.
 */
export function storable(text: string): string {
  return text.includes('\0') || !text.isWellFormed() ? text.toWellFormed().replaceAll('\0', '\ufffd') : text;
}

/**
 * As {@link storable}, for names that an index holds. One that is too long for it keeps its beginning and a digest of all of
 * it: always the same, and no other name's.
 */
export function storableKey(text: string): string {
  const key = storable(text);
  if (key.length * 3 <= MAX_KEY_BYTES || Buffer.byteLength(key) <= MAX_KEY_BYTES) return key;
  const digest = createHash('sha256').update(key).digest('hex');
  return `${key.slice(0, KEPT_CHARACTERS).toWellFormed()}…${digest}`;
}

/** JSON of something in which other people's texts stand, as `json` and `jsonb` can read it. */
export function storableJson(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) => {
    if (typeof inner === 'string') return storable(inner);
    if (typeof inner !== 'object' || inner === null || Array.isArray(inner)) return inner;
    return Object.fromEntries(
      Object.entries(inner).map(([key, member]) => [storable(key), member as unknown]),
    );
  });
}

/** Addresses as they are compared: `A` to `Z` in lower case. Unicode's rules would make a `k` of U+212A (KELVIN SIGN). */
export function lowerAscii(text: string): string {
  // Most are lower case as they come, and this is asked for every request.
  if (!/[A-Z]/.test(text)) return text;
  return text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
}
