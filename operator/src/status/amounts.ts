import type { LimitContent } from '@claude-gateway/prisma';

type Unit = LimitContent['unit'];

/** nano-USD as dollars with cents, and finer where there is something; tokens as they are. */
export function amountText(amount: bigint, unit: Unit): string {
  if (unit !== 'nano_usd') return amount.toString();
  const sign = amount < 0n ? '-' : '';
  const digits = (amount < 0n ? -amount : amount).toString().padStart(10, '0');
  const fraction = digits.slice(-9).replace(/0+$/, '').padEnd(2, '0');
  return `${sign}${digits.slice(0, -9)}.${fraction}`;
}

export function unitText(unit: Unit): string {
  return unit === 'nano_usd' ? 'USD' : 'tokens';
}

/** Whole percent, rounded down: 100 is said only when it is so. Of a limit of nothing, everything is used. */
export function percentOf(spent: bigint, limit: bigint): number {
  if (limit <= 0n) return 100;
  const percent = (spent * 100n) / limit;
  return percent < 0n ? 0 : Number(percent);
}
