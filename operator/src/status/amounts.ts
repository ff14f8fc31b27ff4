import type { LimitContent } from '@claude-gateway/prisma';

type Unit = LimitContent['unit'];

const MOST_PERCENT = BigInt(Number.MAX_SAFE_INTEGER);

/** nano-USD as dollars with cents, and finer where there is something; tokens as they are. */
export function amountText(amount: bigint, unit: Unit): string {
  if (unit !== 'nano_usd') return amount.toString();
  const sign = amount < 0n ? '-' : '';
  const digits = (amount < 0n ? -amount : amount).toString().padStart(10, '0');
  const fraction = digits.slice(-9).replace(/0+$/, '').padEnd(2, '0');
  return `${sign}${digits.slice(0, -9)}.${fraction}`;
}

const NANO_PER_CENT = 10_000_000n;

/** For a column of a table: dollars to the cent, rounded down as percentages are; tokens as they are. */
export function centsText(amount: bigint, unit: Unit): string {
  return amountText(unit === 'nano_usd' ? amount - (amount % NANO_PER_CENT) : amount, unit);
}

export function unitText(unit: Unit): string {
  return unit === 'nano_usd' ? 'USD' : 'tokens';
}

/** Whole percent, rounded down: 100 is said only when it is so. Of a limit of nothing, everything is used. */
export function percentOf(spent: bigint, limit: bigint): number {
  if (limit <= 0n) return 100;
  const percent = (spent * 100n) / limit;
  if (percent < 0n) return 0;
  // A limit of a nano-dollar may be passed by more percent than JSON has integers for.
  return Number(percent < MOST_PERCENT ? percent : MOST_PERCENT);
}
