import { describe, expect, it } from '@jest/globals';
import { centsOf, nanoUsdOfCents, wholeTokens } from './money.ts';

describe('amounts on the wire', () => {
  it.each([
    ['0', 0n],
    ['1', 10_000_000n],
    ['007', 70_000_000n],
    ['922337203685', 9_223_372_036_850_000_000n],
  ])('reads %s cents', (text, nanoUsd) => {
    expect(nanoUsdOfCents(text)).toBe(nanoUsd);
  });

  it.each(['', '-1', '+1', '1e3', '1.5', ' 5', '5 ', '٣', '0x10', '922337203686', '9'.repeat(40)])(
    'does not take %j for cents',
    (text) => {
      expect(nanoUsdOfCents(text)).toBeUndefined();
    },
  );

  it('reads tokens as they are', () => {
    expect(wholeTokens('9223372036854775807')).toBe(2n ** 63n - 1n);
    expect(wholeTokens('9223372036854775808')).toBeUndefined();
  });

  it.each([
    [0n, '0'],
    [10_000_000n, '1'],
    [120_505_000_000n, '12050.5'],
    [1n, '0.0000001'],
    [9_060_000n, '0.906'],
    [-15_000_000n, '-1.5'],
  ])('writes %s nano-USD in cents, exactly', (nanoUsd, cents) => {
    expect(centsOf(nanoUsd)).toBe(cents);
  });
});
