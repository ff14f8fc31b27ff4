import { describe, expect, it } from '@jest/globals';
import { closestName } from './closest-name.ts';

describe('closestName', () => {
  const names = ['availableModels', 'allow', 'deny', 'env', 'hooks'];

  it.each([
    ['avialableModels', 'availableModels'],
    ['AVAILABLEMODELS', 'availableModels'],
    ['avalableModel', 'availableModels'],
    ['denny', 'deny'],
    ['hoks', 'hooks'],
    ['envs', 'env'],
  ])('%s may mean %s', (typed, meant) => {
    expect(closestName(typed, names)).toBe(meant);
  });

  it.each(['', 'x', 'banner', 'somethingElse', 'availability'])('%j means none of them', (typed) => {
    expect(closestName(typed, names)).toBeUndefined();
  });
});
