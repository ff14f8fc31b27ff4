import { describe, expect, it } from '@jest/globals';
import type { BudgetSubject } from '@claude-gateway/prisma';
import { windowId } from './window-id.ts';

const WINDOW = {
  subject: { kind: 'user', sub: 'ada' },
  unit: 'nano_usd',
  period: 'daily',
  timeZone: 'UTC',
  startsAt: new Date('2027-03-01T00:00Z'),
} as const;

describe('windowId', () => {
  it('is a UUID of version 8, the same for ever', () => {
    // Another one would forget what everybody has spent.
    expect(windowId(WINDOW)).toBe('6daad012-d69c-848f-80e6-d9352ccc3c4e');
  });

  it('differs with every part, and no name passes for another part', () => {
    const pool = (group: string): BudgetSubject => ({ kind: 'group_pool', group });
    const windows = [
      WINDOW,
      { ...WINDOW, unit: 'tokens' },
      { ...WINDOW, unit: 'tokens_with_cache_reads' },
      { ...WINDOW, period: 'weekly' },
      { ...WINDOW, timeZone: 'Asia/Tokyo' },
      { ...WINDOW, startsAt: new Date('2027-03-02T00:00Z') },
      { ...WINDOW, subject: { kind: 'user', sub: 'Ada' } },
      { ...WINDOW, subject: pool('ada') },
      { ...WINDOW, subject: pool('') },
      { ...WINDOW, subject: { kind: 'organization_pool' } },
      { ...WINDOW, subject: pool('a","nano_usd') },
      { ...WINDOW, subject: pool('a\\","nano_usd') },
      { ...WINDOW, subject: pool('\0') },
      { ...WINDOW, subject: pool('\ud800') },
      { ...WINDOW, subject: pool('\ufffd') },
      { ...WINDOW, subject: pool('\\ud800') },
    ] as const;
    const ids = windows.map(windowId);
    expect(new Set(ids).size).toBe(windows.length);
    for (const id of ids)
      expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  });
});
