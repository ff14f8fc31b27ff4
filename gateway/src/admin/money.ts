/** The admin API speaks of cents in decimal strings; everything else of nano-USD. */
const NANO_USD_PER_CENT = 10_000_000n;

/** PostgreSQL's bigint. */
const MOST = 2n ** 63n - 1n;

const WHOLE_NUMBER = /^[0-9]{1,19}$/;

/** Nano-USD of so many cents; undefined when it is no whole number of them, or more than can be counted. */
export function nanoUsdOfCents(cents: string): bigint | undefined {
  return times(cents, NANO_USD_PER_CENT);
}

/** Whole tokens; undefined when they are not. */
export function wholeTokens(tokens: string): bigint | undefined {
  return times(tokens, 1n);
}

function times(digits: string, factor: bigint): bigint | undefined {
  if (!WHOLE_NUMBER.test(digits)) return undefined;
  const value = BigInt(digits) * factor;
  return value > MOST ? undefined : value;
}

/** Cents as a decimal string, exact to the nano-dollar: `12050.5`. */
export function centsOf(nanoUsd: bigint): string {
  const whole = nanoUsd / NANO_USD_PER_CENT;
  const rest = nanoUsd % NANO_USD_PER_CENT;
  if (rest === 0n) return whole.toString();
  const digits = (rest < 0n ? -rest : rest).toString().padStart(7, '0').replace(/0+$/, '');
  return `${nanoUsd < 0n ? '-' : ''}${whole < 0n ? -whole : whole}.${digits}`;
}
