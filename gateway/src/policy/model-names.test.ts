import { describe, expect, it } from '@jest/globals';
import { CATALOG } from '@claude-gateway/contract';
import { displayName, newestFirst } from './model-names.ts';

describe('displayName', () => {
  it.each([
    ['claude-opus-4-8', 'Claude Opus 4.8'],
    ['claude-opus-5', 'Claude Opus 5'],
    ['claude-sonnet-4-5-20250929', 'Claude Sonnet 4.5'],
    ['claude-sonnet-4-20250514', 'Claude Sonnet 4'],
    ['claude-3-7-sonnet-20250219', 'Claude Sonnet 3.7'],
    ['corp-default', undefined],
    ['claude-opus', undefined],
    ['us.anthropic.claude-opus-4-8', undefined],
  ])('of %s', (id, name) => {
    expect(displayName(id)).toBe(name);
  });

  it('is there for each model of the catalog, and no two share one', () => {
    const names = CATALOG.map(({ id }) => displayName(id));
    expect(names).not.toContain(undefined);
    expect(new Set(names).size).toBe(CATALOG.length);
  });
});

describe('newestFirst', () => {
  it('puts names of administrators first, then versions, newest first, and keeps the order of equals', () => {
    const ids = [
      'claude-opus-4-6',
      'claude-haiku-4-5-20251001',
      'claude-sonnet-5',
      'corp-b',
      'claude-opus-5',
      'corp-a',
      'claude-opus-5-5',
    ];
    expect(newestFirst(ids)).toEqual([
      'corp-b',
      'corp-a',
      'claude-opus-5-5',
      'claude-sonnet-5',
      'claude-opus-5',
      'claude-opus-4-6',
      'claude-haiku-4-5-20251001',
    ]);
  });
});
