import { describe, expect, it } from '@jest/globals';
import { isTrue, mergeConditions, setCondition, type ConditionInput } from './conditions.ts';

const early = new Date('2026-01-01T00:00:00.123Z');
const late = new Date('2026-01-02T00:00:00Z');
const ready: ConditionInput = {
  type: 'Ready',
  status: 'True',
  reason: 'Up',
  message: 'up',
  observedGeneration: 1,
};

describe('conditions', () => {
  it('returns the very list when nothing differs', () => {
    const once = setCondition([], ready, early);
    expect(setCondition(once, { ...ready }, late)).toBe(once);
    expect(mergeConditions(once, [ready], late, ['Ready'])).toBe(once);
  });

  it('moves the time of transition with the status, and with nothing else', () => {
    const once = setCondition([], ready, early);
    expect(once[0]?.lastTransitionTime).toBe('2026-01-01T00:00:00Z');
    const reworded = setCondition(once, { ...ready, message: 'up again', observedGeneration: 2 }, late);
    expect(reworded[0]).toMatchObject({ observedGeneration: 2, lastTransitionTime: '2026-01-01T00:00:00Z' });
    const down = setCondition(reworded, { ...ready, status: 'False' }, late);
    expect(down[0]?.lastTransitionTime).toBe('2026-01-02T00:00:00Z');
  });

  it('drops what it owns and no longer says, leaves others, and sorts', () => {
    const foreign = { ...ready, type: 'Foreign' };
    const all = mergeConditions([], [ready, foreign, { ...ready, type: 'Accepted' }], early);
    expect(all.map(({ type }) => type)).toEqual(['Accepted', 'Foreign', 'Ready']);
    const fewer = mergeConditions(all, [ready], late, ['Ready', 'Accepted']);
    expect(fewer.map(({ type }) => type)).toEqual(['Foreign', 'Ready']);
  });

  it('holds a condition of an older generation for not true', () => {
    const all = setCondition([], ready, early);
    expect(isTrue(all, 'Ready', 1)).toBe(true);
    expect(isTrue(all, 'Ready', 2)).toBe(false);
    expect(isTrue(all, 'Absent')).toBe(false);
  });
});
