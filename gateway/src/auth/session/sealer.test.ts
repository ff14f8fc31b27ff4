import { describe, expect, it } from '@jest/globals';
import { createSealer, UnsealError } from './sealer.ts';

const first = 'first-secret-first-secret-first-secret';
const second = 'second-secret-second-secret-second-secret';

function reasonOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof UnsealError) return error.reason;
    throw error;
  }
  return 'opened';
}

describe('createSealer', () => {
  it('opens what it sealed, text and bytes, empty ones too', () => {
    const sealer = createSealer([first]);
    for (const plaintext of ['', 'rt_abc', 'ü€😀', 'x'.repeat(10_000)]) {
      expect(sealer.open('p', sealer.seal('p', plaintext)).toString()).toBe(plaintext);
    }
    const bytes = Buffer.from([0, 255, 1, 254]);
    expect(sealer.open('p', sealer.seal('p', bytes))).toEqual(bytes);
  });

  it('never gives the same blob twice and shows nothing of the plaintext', () => {
    const sealer = createSealer([first]);
    const one = sealer.seal('p', 'a secret refresh token');
    expect(one.equals(sealer.seal('p', 'a secret refresh token'))).toBe(false);
    expect(one.includes('secret')).toBe(false);
  });

  it('opens blobs of every listed secret and seals with the first', () => {
    const old = createSealer([first]).seal('p', 'kept');
    const rotated = createSealer([second, first]);
    expect(rotated.open('p', old).toString()).toBe('kept');
    expect(createSealer([second]).open('p', rotated.seal('p', 'new')).toString()).toBe('new');
    expect(reasonOf(() => createSealer([second]).open('p', old))).toBe('unknown-key');
  });

  it('refuses a blob of another purpose', () => {
    const sealer = createSealer([first]);
    const sealed = sealer.seal('idp-refresh-token', 'x');
    expect(reasonOf(() => sealer.open('sign-in', sealed))).toBe('not-authentic');
  });

  it('refuses a blob with any one bit flipped, and any truncation', () => {
    const sealer = createSealer([first]);
    const sealed = sealer.seal('p', 'payload');
    for (let index = 0; index < sealed.length; index++) {
      const altered = Buffer.from(sealed);
      altered.writeUInt8(altered.readUInt8(index) ^ 1, index);
      expect(reasonOf(() => sealer.open('p', altered))).not.toBe('opened');
    }
    for (let length = 0; length < sealed.length; length++) {
      expect(reasonOf(() => sealer.open('p', sealed.subarray(0, length)))).not.toBe('opened');
    }
  });

  it('needs a secret', () => {
    expect(() => createSealer([])).toThrow('session.jwt_secret');
  });
});
