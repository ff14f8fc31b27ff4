import { expect, it } from '@jest/globals';
import { periodEnd } from './period-end.ts';

it.each([
  ['daily', 'UTC', '2027-03-01T12:00:00Z', '2027-03-02T00:00:00Z'],
  ['daily', 'UTC', '2027-03-02T00:00:00Z', '2027-03-03T00:00:00Z'],
  // A Monday begins a week; a Sunday ends it.
  ['weekly', 'UTC', '2027-03-01T00:00:00Z', '2027-03-08T00:00:00Z'],
  ['weekly', 'UTC', '2027-03-07T23:59:59Z', '2027-03-08T00:00:00Z'],
  ['monthly', 'UTC', '2027-12-31T23:59:59.999Z', '2028-01-01T00:00:00Z'],
  ['monthly', 'Europe/Berlin', '2027-02-28T22:59:59Z', '2027-02-28T23:00:00Z'],
  ['monthly', 'Europe/Berlin', '2027-03-10T00:00:00Z', '2027-03-31T22:00:00Z'],
  ['daily', 'Asia/Kathmandu', '2027-03-01T18:14:00Z', '2027-03-01T18:15:00Z'],
  // 00:00 is skipped there that day: it begins at 01:00.
  ['daily', 'Africa/Cairo', '2026-04-23T12:00:00Z', '2026-04-23T22:00:00Z'],
  // At 00:00 the clocks are set back to 23:00.
  ['daily', 'Africa/Cairo', '2026-10-29T12:00:00Z', '2026-10-29T22:00:00Z'],
  ['daily', 'Mars/Olympus', '2027-03-01T12:00:00Z', '2027-03-02T00:00:00Z'],
] as const)('ends a %s period in %s that has %s at %s', (period, zone, at, end) => {
  expect(periodEnd(period, zone, new Date(at))).toEqual(new Date(end));
});
