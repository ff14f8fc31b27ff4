import { describe, expect, it } from '@jest/globals';
import { parseQuantity, sameQuantity } from './quantity.ts';

describe('quantities', () => {
  it.each([
    ['1', '1000m'],
    ['0.5', '500m'],
    ['1Gi', '1024Mi'],
    ['1.5Gi', '1536Mi'],
    ['1k', '1e3'],
    ['1E', '1e18'],
    ['.5', '500000u'],
    ['1.', '1'],
    ['-1', '-1000m'],
    ['1n', '0.0000000001'],
  ])('%s is %s', (a, b) => {
    expect(sameQuantity(a, b)).toBe(true);
  });

  it.each([
    ['1', '1001m'],
    ['1G', '1Gi'],
    ['1Ki', '1000'],
    ['1E', '1e1'],
    ['9007199254740993', '9007199254740992'],
  ])('%s is not %s', (a, b) => {
    expect(sameQuantity(a, b)).toBe(false);
  });

  it.each(['', '.', 'm', 'one', '1ki', '1 Gi', '1e', '0x10', '1e999'])('"%s" is none', (text) => {
    expect(parseQuantity(text)).toBeUndefined();
    expect(sameQuantity(text, text)).toBe(false);
  });

  it('takes numbers, as YAML has them', () => {
    expect(sameQuantity(2, '2')).toBe(true);
    expect(sameQuantity(2, undefined)).toBe(false);
  });
});
