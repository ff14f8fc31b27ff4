import type { BudgetPeriod } from '@claude-gateway/prisma';
import { IANAZone } from 'luxon';

/** One calendar period, in ms since the epoch: `[startsAt, endsAt)`. */
export interface WindowTimes {
  readonly startsAt: number;
  readonly endsAt: number;
}

const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;
const MINUTE_MS = 60_000;
/** Further from UTC than any zone has ever been. */
const FARTHEST_OFFSET_MS = 16 * HOUR_MS;
/** Shorter than the time between two changes of a zone's offset. */
const STEP_MS = 15 * MINUTE_MS;
/** Epoch day 0 was a Thursday; days since Monday. */
const EPOCH_WEEKDAY = 3;

/** A zone that is configured is asked about again and again; this many names are no configuration. */
const MAX_ZONES = 1_000;
const recent = new Map<string, Map<BudgetPeriod, WindowTimes>>();

/** Whether this is the name of an IANA time zone: `UTC`, `Europe/Berlin`. Offsets (`+02:00`) are not. */
export function isTimeZone(name: string): boolean {
  return /^[A-Za-z]/.test(name) && IANAZone.isValidZone(name);
}

/**
 * The calendar day, week (from Monday, ISO 8601) or month of a zone that an instant lies in. A day begins when the
 * clocks there first show it: at 00:00, or later where 00:00 is skipped; a day that is skipped whole has no window.
 * So windows follow each other without gap or overlap, whatever the clocks do.
 *
 * @param atMs Since the epoch.
 * @throws RangeError for a zone that does not exist.
 */
export function windowTimes(period: BudgetPeriod, timeZone: string, atMs: number): WindowTimes {
  if (timeZone === 'UTC') return inUtc(period, atMs);
  let ofZone = recent.get(timeZone);
  const known = ofZone?.get(period);
  if (known !== undefined && atMs >= known.startsAt && atMs < known.endsAt) return known;
  if (!isTimeZone(timeZone)) throw new RangeError(`${timeZone} is no IANA time zone`);
  const times = inZone(period, IANAZone.create(timeZone), atMs);
  if (ofZone === undefined) {
    if (recent.size >= MAX_ZONES) recent.clear();
    recent.set(timeZone, (ofZone = new Map<BudgetPeriod, WindowTimes>()));
  }
  ofZone.set(period, times);
  return times;
}

function inUtc(period: BudgetPeriod, atMs: number): WindowTimes {
  const startsAt = startOf(period, atMs);
  return { startsAt, endsAt: next(period, startsAt) };
}

function inZone(period: BudgetPeriod, zone: IANAZone, atMs: number): WindowTimes {
  let start = startOf(period, atMs + offset(zone, atMs));
  for (;;) {
    const end = next(period, start);
    const endsAt = firstInstant(zone, end);
    // Clocks that are set back over midnight show the old day again, in what is the new day's window already.
    if (atMs < endsAt) return { startsAt: firstInstant(zone, start), endsAt };
    start = end;
  }
}

/** On the calendar of clocks that are never changed. */
function startOf(period: BudgetPeriod, ms: number): number {
  const day = Math.floor(ms / DAY_MS);
  switch (period) {
    case 'daily':
      return day * DAY_MS;
    case 'weekly':
      return (day - ((((day + EPOCH_WEEKDAY) % 7) + 7) % 7)) * DAY_MS;
    case 'monthly': {
      const date = new Date(ms);
      return Date.UTC(date.getUTCFullYear(), date.getUTCMonth());
    }
  }
}

function next(period: BudgetPeriod, start: number): number {
  switch (period) {
    case 'daily':
      return start + DAY_MS;
    case 'weekly':
      return start + 7 * DAY_MS;
    case 'monthly': {
      const date = new Date(start);
      return Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1);
    }
  }
}

/** When the clocks of a zone first show this time or a later one. @param local As if they showed UTC, in ms. */
function firstInstant(zone: IANAZone, local: number): number {
  let from = local - FARTHEST_OFFSET_MS;
  const until = local + FARTHEST_OFFSET_MS;
  let shift = offset(zone, from);
  if (shift === offset(zone, until)) return local - shift;
  for (;;) {
    const change = nextChange(zone, from, until, shift);
    const instant = Math.max(from, local - shift);
    if (instant < change || change >= until) return instant;
    from = change;
    shift = offset(zone, change);
  }
}

/** The first instant after `from` whose offset is another one; `until` when there is none. */
function nextChange(zone: IANAZone, from: number, until: number, shift: number): number {
  for (let at = from + STEP_MS; at <= until; at += STEP_MS) {
    if (offset(zone, at) === shift) continue;
    let [before, after] = [at - STEP_MS, at];
    while (after - before > 1) {
      const middle = Math.floor((before + after) / 2);
      if (offset(zone, middle) === shift) before = middle;
      else after = middle;
    }
    return after;
  }
  return until;
}

function offset(zone: IANAZone, ms: number): number {
  return zone.offset(ms) * MINUTE_MS;
}
