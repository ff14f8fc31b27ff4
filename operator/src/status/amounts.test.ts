import { describe, expect, it } from '@jest/globals';
import { amountText, centsText, percentOf } from './amounts.ts';
import { zonedTime } from './zoned-time.ts';

describe('amountText', () => {
  it.each([
    [0n, '0.00'],
    [1n, '0.000000001'],
    [10_000_000n, '0.01'],
    [1_234_500_000n, '1.2345'],
    [100_000_000_000n, '100.00'],
    [9_223_372_036_854_775_807n, '9223372036.854775807'],
    [-50_000_000n, '-0.05'],
  ])('says %s nano-USD as dollars: %s', (amount, text) => {
    expect(amountText(amount, 'nano_usd')).toBe(text);
  });

  it('says tokens as they are', () => {
    expect(amountText(50_000_000n, 'tokens')).toBe('50000000');
  });
});

describe('centsText', () => {
  it.each([
    [99_999_999_999n, '99.99'],
    [9_999_999n, '0.00'],
  ])('leaves out less than a cent of %s nano-USD: %s', (amount, text) => {
    expect(centsText(amount, 'nano_usd')).toBe(text);
  });

  it('says tokens as they are', () => {
    expect(centsText(12_345_678n, 'tokens')).toBe('12345678');
  });
});

describe('percentOf', () => {
  it('says 100 only when it is so', () => {
    expect([percentOf(99_999n, 100_000n), percentOf(100_000n, 100_000n), percentOf(150n, 100n)]).toEqual([
      99, 100, 150,
    ]);
  });

  it('stays a number that JSON has', () => {
    expect(percentOf(9_000_000_000_000_000_000n, 1n)).toBe(Number.MAX_SAFE_INTEGER);
  });

  it('takes a limit of nothing as used up', () => {
    expect(percentOf(0n, 0n)).toBe(100);
  });
});

describe('zonedTime', () => {
  it.each([
    ['2026-11-30T23:00:00Z', 'Europe/Berlin', '2026-12-01T00:00:00+01:00'],
    ['2026-06-30T22:00:00Z', 'Europe/Berlin', '2026-07-01T00:00:00+02:00'],
    ['2026-12-01T00:00:00Z', 'UTC', '2026-12-01T00:00:00Z'],
    ['2026-12-01T00:00:00.500Z', 'Asia/Kathmandu', '2026-12-01T05:45:00+05:45'],
    ['2026-12-01T00:00:00Z', 'America/St_Johns', '2026-11-30T20:30:00-03:30'],
  ])('%s in %s is %s', (time, zone, text) => {
    expect(zonedTime(new Date(time), zone)).toBe(text);
  });
});
