import { createHash } from 'node:crypto';

/**
 * What the store keeps of a secret: device codes, user codes, states, refresh tokens. Whoever stores one and whoever
 * looks it up must use this. Looking a secret up by its digest leaks nothing through timing.
 */
export function digest(secret: string): Buffer {
  return createHash('sha256').update(secret).digest();
}
