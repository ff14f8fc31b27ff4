/** The end of a `bigint`. */
const MAX_SEQUENCE = 2n ** 63n - 1n;

/** @param cursor Where a page ended, as it was handed out. @returns 0, before which there is nothing, for one that never was. */
export function sequenceOf(cursor: string): bigint {
  if (!/^\d{1,19}$/.test(cursor)) return 0n;
  const sequence = BigInt(cursor);
  return sequence > MAX_SEQUENCE ? 0n : sequence;
}
