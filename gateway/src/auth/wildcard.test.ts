import { describe, expect, it } from '@jest/globals';
import { compileWildcard, literalPrefix } from './wildcard.ts';

describe('compileWildcard', () => {
  it.each<[string, string, boolean]>([
    ['acme/web', 'acme/web', true],
    ['acme/web', 'acme/web2', false],
    ['acme/web', 'ACME/web', false],
    ['acme/*', 'acme/web', true],
    ['acme/*', 'acme/', true],
    ['acme/*', 'acme-evil/web', false],
    ['*', '', true],
    ['*', 'anything at all', true],
    ['*/web', 'acme/web', true],
    ['*/web', 'acme/web/x', false],
    ['a*b*c', 'abc', true],
    ['a*b*c', 'a--b--c', true],
    ['a*b*c', 'ac', false],
    ['a*b*c', 'acb', false],
    ['ab*ba', 'aba', false],
    ['a**c', 'abc', true],
    ['a.c', 'abc', false],
    ['a[b]?', 'a[b]?', true],
    ['', '', true],
    ['', 'a', false],
    ['*ab*ab', 'ab', false],
    ['*ab*ab', 'abab', true],
  ])('%j on %j: %j', (pattern, text, matches) => {
    expect(compileWildcard(pattern)(text)).toBe(matches);
  });

  it('does not slow down on patterns and texts made to do so', () => {
    const matches = compileWildcard(`${'*a'.repeat(50)}b`);
    expect(matches('a'.repeat(60_000))).toBe(false);
  });
});

describe('literalPrefix', () => {
  it('ends at the first star', () => {
    expect(['a*b*', '*', 'abc', ''].map(literalPrefix)).toEqual(['a', '', 'abc', '']);
  });
});
