import { DateTime } from 'luxon';
import type { AppliedCap } from '../types.ts';

const NANO_USD_PER_CENT = 10_000_000n;

/** Whole cents that an amount of nano-USD has. */
export function wholeCents(nanoUsd: bigint): bigint {
  return nanoUsd / NANO_USD_PER_CENT;
}

/**
 * An amount of the unit in which a cap counts: `$5.00`, `120,000 tokens`.
 *
 * @param round Cents: down for what there is, up for what is needed.
 */
export function amountText(
  amount: bigint,
  unit: AppliedCap['limit']['unit'],
  round: 'down' | 'up' = 'down',
): string {
  if (unit !== 'nano_usd') return `${grouped(amount)} tokens`;
  const cents = wholeCents(round === 'up' ? amount + NANO_USD_PER_CENT - 1n : amount);
  if (cents === 0n && amount > 0n) return 'less than $0.01';
  return `$${grouped(cents / 100n)}.${String(cents % 100n).padStart(2, '0')}`;
}

/** `your daily limit of $5.00 (policy eng)`, `the monthly budget of $100.00 that the group eng shares`. */
export function capText({ limit, amount, subject }: AppliedCap): string {
  const what = `${limit.period} ${subject.kind === 'user' ? 'limit' : 'budget'} of ${amountText(amount, limit.unit)}`;
  const policy = limit.policyName === null ? '' : ` (policy ${limit.policyName})`;
  switch (subject.kind) {
    case 'user':
      return `your ${what}${policy}`;
    case 'group_pool':
      return `the ${what} that the group ${subject.group} shares${policy}`;
    case 'organization_pool':
      return `the ${what} that the organization shares${policy}`;
  }
}

/** `Aug 8, 00:00 UTC`: when a cap's period ends, by the calendar that it follows. */
export function resetText({ window }: AppliedCap): string {
  const end = DateTime.fromJSDate(window.endsAt, { zone: window.timeZone }).setLocale('en-US');
  return `${end.toFormat('LLL d, HH:mm')} ${window.timeZone}`;
}

function grouped(amount: bigint): string {
  return amount.toLocaleString('en-US');
}
