import { describe, expect, it } from '@jest/globals';
import { DateTime } from 'luxon';
import type { BudgetPeriod } from '@claude-gateway/prisma';
import { isTimeZone, windowTimes } from './periods.ts';

const HOUR_MS = 3_600_000;
const PERIODS: readonly BudgetPeriod[] = ['daily', 'weekly', 'monthly'];

function windowOf(period: BudgetPeriod, zone: string, at: string): string[] {
  const { startsAt, endsAt } = windowTimes(period, zone, Date.parse(at));
  return [startsAt, endsAt].map((ms) => new Date(ms).toISOString().replace(':00.000Z', 'Z'));
}

const hoursOf = (zone: string, at: string): number => {
  const { startsAt, endsAt } = windowTimes('daily', zone, Date.parse(at));
  return (endsAt - startsAt) / HOUR_MS;
};

/** Park and Miller's generator: the same instants in every run. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => (state = (state * 48_271) % 2_147_483_647) / 2_147_483_647;
}

describe('windowTimes', () => {
  it.each([
    ['daily', '2027-03-01T00:00Z', '2027-03-01T00:00Z', '2027-03-02T00:00Z'],
    ['daily', '2027-03-01T23:59:59.999Z', '2027-03-01T00:00Z', '2027-03-02T00:00Z'],
    ['weekly', '2027-03-01T00:00Z', '2027-03-01T00:00Z', '2027-03-08T00:00Z'],
    ['weekly', '2027-03-07T23:59:59.999Z', '2027-03-01T00:00Z', '2027-03-08T00:00Z'],
    ['monthly', '2028-02-29T12:00Z', '2028-02-01T00:00Z', '2028-03-01T00:00Z'],
    ['monthly', '2027-12-31T23:59:59.999Z', '2027-12-01T00:00Z', '2028-01-01T00:00Z'],
    ['weekly', '1969-12-31T12:00Z', '1969-12-29T00:00Z', '1970-01-05T00:00Z'],
  ] as const)('%s at %s in UTC', (period, at, startsAt, endsAt) => {
    expect(windowOf(period, 'UTC', at)).toEqual([startsAt, endsAt]);
    expect(windowOf(period, 'Etc/UTC', at)).toEqual([startsAt, endsAt]);
  });

  it.each([
    ['daily', 'Europe/Berlin', '2027-03-28T12:00Z', '2027-03-27T23:00Z', '2027-03-28T22:00Z'],
    ['weekly', 'Europe/Berlin', '2027-03-28T12:00Z', '2027-03-21T23:00Z', '2027-03-28T22:00Z'],
    ['monthly', 'Europe/Berlin', '2027-03-31T21:59Z', '2027-02-28T23:00Z', '2027-03-31T22:00Z'],
    ['monthly', 'Asia/Tokyo', '2027-03-31T15:00Z', '2027-03-31T15:00Z', '2027-04-30T15:00Z'],
    ['daily', 'Asia/Kathmandu', '2027-03-01T18:14Z', '2027-02-28T18:15Z', '2027-03-01T18:15Z'],
  ] as const)('%s in %s at %s', (period, zone, at, startsAt, endsAt) => {
    expect(windowOf(period, zone, at)).toEqual([startsAt, endsAt]);
  });

  it('has days of 23 and of 25 hours', () => {
    expect(hoursOf('America/New_York', '2027-03-14T12:00Z')).toBe(23);
    expect(hoursOf('America/New_York', '2027-11-07T12:00Z')).toBe(25);
    expect(hoursOf('Australia/Lord_Howe', '2027-04-03T16:00Z')).toBe(24.5);
  });

  it('begins a day at 01:00 where 00:00 is skipped', () => {
    expect(windowOf('daily', 'America/Santiago', '2024-09-08T12:00Z')).toEqual([
      '2024-09-08T04:00Z',
      '2024-09-09T03:00Z',
    ]);
    expect(hoursOf('America/Santiago', '2024-09-08T12:00Z')).toBe(23);
    expect(hoursOf('Asia/Beirut', '2024-03-31T12:00Z')).toBe(23);
    expect(windowOf('daily', 'Asia/Beirut', '2024-03-31T12:00Z')[0]).toBe('2024-03-30T22:00Z');
  });

  it('keeps a day whole when its last hour comes twice, and when its first hour does', () => {
    expect(hoursOf('America/Santiago', '2024-04-06T12:00Z')).toBe(25);
    expect(hoursOf('Asia/Beirut', '2024-10-26T12:00Z')).toBe(25);
    // 01:00 became 00:00 again.
    expect(windowOf('daily', 'America/Havana', '2024-11-03T04:30Z')).toEqual(
      windowOf('daily', 'America/Havana', '2024-11-03T05:30Z'),
    );
    expect(hoursOf('America/Havana', '2024-11-03T12:00Z')).toBe(25);
  });

  it('gives the time that shows yesterday again to today', () => {
    // 00:01 became 23:01 again.
    const again = windowOf('daily', 'America/St_Johns', '2010-11-07T02:45Z');
    const dayBefore = windowOf('daily', 'America/St_Johns', '2010-11-06T12:00Z');
    expect(again).toEqual(windowOf('daily', 'America/St_Johns', '2010-11-07T12:00Z'));
    expect(again[0]).toBe(dayBefore[1]);
  });

  it('has no window for a day that was skipped', () => {
    expect(windowOf('daily', 'Pacific/Apia', '2011-12-30T09:59Z')).toEqual([
      '2011-12-29T10:00Z',
      '2011-12-30T10:00Z',
    ]);
    expect(windowOf('daily', 'Pacific/Apia', '2011-12-30T10:00Z')).toEqual([
      '2011-12-30T10:00Z',
      '2011-12-31T10:00Z',
    ]);
  });

  it('tiles all of time, in every zone that there is', () => {
    const random = seeded(20_270_301);
    const [first, last] = [Date.UTC(1975, 0), Date.UTC(2045, 0)];
    for (const zone of ['UTC', ...Intl.supportedValuesOf('timeZone')]) {
      for (const period of PERIODS) {
        const at = Math.floor(first + random() * (last - first));
        const window = windowTimes(period, zone, at);
        const { startsAt, endsAt } = window;
        const name = `${zone} ${period} ${new Date(at).toISOString()}`;
        expect([name, startsAt <= at, at < endsAt]).toEqual([name, true, true]);
        expect([name, windowTimes(period, zone, endsAt).startsAt]).toEqual([name, endsAt]);
        // The one before took the place of what was remembered: this is worked out again.
        expect([name, windowTimes(period, zone, endsAt - 1)]).toEqual([name, window]);
        expect([name, windowTimes(period, zone, startsAt - 1).endsAt]).toEqual([name, startsAt]);
        const inside = Math.floor(startsAt + random() * (endsAt - startsAt));
        expect([name, windowTimes(period, zone, inside)]).toEqual([name, window]);
      }
    }
  });

  it('agrees with the calendar around every change of the clocks', () => {
    const zones = ['America/Santiago', 'Asia/Beirut', 'America/Havana', 'Europe/Berlin', 'Africa/Casablanca'];
    for (const zone of zones) {
      for (let at = Date.UTC(2024, 0); at < Date.UTC(2025, 0); at += 23 * HOUR_MS) {
        const { startsAt } = windowTimes('daily', zone, at);
        const day = DateTime.fromMillis(at, { zone }).toISODate();
        expect([zone, DateTime.fromMillis(startsAt, { zone }).toISODate()]).toEqual([zone, day]);
        expect([zone, DateTime.fromMillis(startsAt - 1, { zone }).toISODate()]).not.toEqual([zone, day]);
      }
    }
  });

  it('does not work them out again for every request', () => {
    const first = windowTimes('weekly', 'Asia/Tokyo', Date.parse('2027-03-01T12:00Z'));
    expect(windowTimes('weekly', 'Asia/Tokyo', Date.parse('2027-03-03T12:00Z'))).toBe(first);
  });

  it('refuses zones that do not exist', () => {
    expect(() => windowTimes('daily', 'Mars/Olympus', 0)).toThrow('Mars/Olympus is no IANA time zone');
  });
});

describe('isTimeZone', () => {
  it.each(['UTC', 'Europe/Berlin', 'America/Argentina/Buenos_Aires', 'Etc/GMT+5', 'Asia/Calcutta'])(
    'knows %s',
    (name) => expect(isTimeZone(name)).toBe(true),
  );
  it.each(['', '+02:00', '-0500', 'local', 'system', 'Mars/Olympus', 'Europe/', 'UTC+2'])(
    'does not take %j for one',
    (name) => expect(isTimeZone(name)).toBe(false),
  );
});
