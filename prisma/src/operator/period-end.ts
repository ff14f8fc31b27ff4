import type { BudgetPeriod } from '../ledger/types.ts';

const DAY_MS = 86_400_000;
/** 1 January 1970 was a Thursday; days since Monday. */
const EPOCH_WEEKDAY = 3;

const formats = new Map<string, Intl.DateTimeFormat>();
const MAX_FORMATS = 1_000;

/**
 * When the calendar day, week (from Monday) or month of a zone ends: as soon as the clocks there show the next one. A zone
 * that is not known is taken for UTC.
 */
export function periodEnd(period: BudgetPeriod, timeZone: string, at: Date): Date {
  const local = next(period, clockOf(timeZone, at.getTime()));
  const offsets = [-DAY_MS, DAY_MS].map((ms) => clockOf(timeZone, local + ms) - (local + ms));
  // Clocks may be changed just then: the first instant that is shown as the new period.
  const instants = offsets.map((offset) => local - offset).sort((a, b) => a - b);
  const first = instants.find((instant) => clockOf(timeZone, instant) >= local);
  return new Date(first ?? local);
}

/** Clocks are read as if they showed UTC, in ms since the epoch. */
function next(period: BudgetPeriod, clock: number): number {
  const day = Math.floor(clock / DAY_MS);
  switch (period) {
    case 'daily':
      return (day + 1) * DAY_MS;
    case 'weekly':
      return (day - ((day + EPOCH_WEEKDAY) % 7) + 7) * DAY_MS;
    case 'monthly': {
      const date = new Date(clock);
      return Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1);
    }
  }
}

/** What the clocks of a zone show at an instant. */
function clockOf(timeZone: string, instant: number): number {
  const parts = formatOf(timeZone).formatToParts(instant);
  const part = (type: Intl.DateTimeFormatPartTypes): number =>
    Number(parts.find((one) => one.type === type)?.value);
  return Date.UTC(
    ...([part('year'), part('month') - 1, part('day')] as const),
    ...([part('hour'), part('minute'), part('second')] as const),
  );
}

function formatOf(timeZone: string): Intl.DateTimeFormat {
  let format = formats.get(timeZone);
  if (format === undefined) {
    if (formats.size >= MAX_FORMATS) formats.clear();
    formats.set(timeZone, (format = newFormat(timeZone)));
  }
  return format;
}

const CLOCK = {
  hourCycle: 'h23',
  year: 'numeric',
  month: 'numeric',
  day: 'numeric',
  hour: 'numeric',
  minute: 'numeric',
  second: 'numeric',
} as const;

function newFormat(timeZone: string): Intl.DateTimeFormat {
  try {
    return new Intl.DateTimeFormat('en-US', { ...CLOCK, timeZone });
  } catch {
    return new Intl.DateTimeFormat('en-US', { ...CLOCK, timeZone: 'UTC' });
  }
}
