const PARTS = /([0-9]+)(h|m|s)/g;
const MILLISECONDS = { h: 3_600_000, m: 60_000, s: 1000 } as const;

/** The length of a duration field, such as `1h30m`, in milliseconds. */
export function durationMs(text: string): number {
  let sum = 0;
  for (const [, count, unit] of text.matchAll(PARTS))
    sum += Number(count) * MILLISECONDS[unit as 'h' | 'm' | 's'];
  return sum;
}
