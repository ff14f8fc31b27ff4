import type { BudgetPeriod } from '@claude-gateway/prisma';
import { DateTime } from 'luxon';

export const PERIODS = ['daily', 'weekly', 'monthly'] as const satisfies readonly BudgetPeriod[];

const UNITS = { daily: 'day', weekly: 'week', monthly: 'month' } as const;

/** When the period began that `now` lies in: at 00:00 in the zone, weeks on Monday (ISO 8601). */
export function startOf(period: BudgetPeriod, now: Date, zone = 'UTC'): Date {
  return DateTime.fromJSDate(now, { zone }).startOf(UNITS[period]).toJSDate();
}
