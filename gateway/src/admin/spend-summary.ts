import type { BudgetPeriod, KnownPrincipal, PrincipalSpend } from '@claude-gateway/prisma';
import type { AdminDependencies, CapHolder, CapReader, DecidingLimit } from './dependencies.ts';
import { amountView, currencyView, unitView } from './limit-view.ts';
import { centsOf } from './money.ts';
import { startOf } from './periods.ts';

/** A person, as Anthropic's Admin API writes one. */
export function actorView(principal: KnownPrincipal): Record<string, unknown> {
  return {
    type: 'user_actor',
    user_id: principal.sub,
    name: principal.name,
    email_address: principal.email,
    deleted: false,
  };
}

interface Cell {
  readonly principal: KnownPrincipal;
  readonly period: BudgetPeriod;
  readonly deciding: DecidingLimit | undefined;
  spent: bigint;
}

/**
 * Rows of Anthropic's `SpendSummary`: one for each person and period.
 *
 * @param caps Add everything that applies to the person in that period, whatever it counts and whoever shares it.
 * @throws StoreUnavailableError
 */
export async function spendSummaries(
  { effective, ledger }: Pick<AdminDependencies, 'effective' | 'ledger'>,
  reader: CapReader,
  rows: readonly PrincipalSpend[],
  periods: readonly BudgetPeriod[],
  now: Date,
  caps = false,
): Promise<readonly Record<string, unknown>[]> {
  const at = now.getTime();
  const cells = rows.flatMap(({ principal, spent }) =>
    periods.map((period): Cell => ({
      principal,
      period,
      deciding: reader.memberLimit(holderOf(principal), period, at),
      spent: spent[period] ?? 0n,
    })),
  );
  await followZones({ effective, ledger }, cells, now);
  const views = cells.map(viewOf);
  if (!caps) return views;
  const applied = await capsOf(ledger, reader, cells, at);
  return views.map((view, i) => ({ ...view, caps: applied[i] }));
}

function viewOf({ principal, period, deciding, spent }: Cell): Record<string, unknown> {
  const limit = deciding?.limit;
  return {
    scope: { type: 'user', user_id: principal.sub },
    groups: principal.groups,
    actor: actorView(principal),
    amount: limit === undefined || limit.amount === null ? null : centsOf(limit.amount),
    currency: 'USD',
    period,
    source: deciding === undefined ? null : sourceView(deciding, principal.sub),
    spend_limit_id: limit?.id ?? null,
    period_to_date_spend: centsOf(spent),
  };
}

function sourceView({ limit, source }: DecidingLimit, sub: string): Record<string, string> {
  if (source === 'user') return { type: 'user', user_id: sub };
  if (limit.scope.type === 'rbac_group') return { type: 'rbac_group', rbac_group_id: limit.scope.group };
  return { type: 'organization' };
}

/** A limit that follows another calendar counts from its own midnight. */
async function followZones(
  { effective, ledger }: Pick<AdminDependencies, 'effective' | 'ledger'>,
  cells: readonly Cell[],
  now: Date,
): Promise<void> {
  const elsewhere = cells.filter(
    (cell): cell is Cell & { deciding: DecidingLimit } =>
      cell.deciding !== undefined &&
      cell.deciding.window.startsAt.getTime() !== startOf(cell.period, now).getTime(),
  );
  if (elsewhere.length === 0) return;
  const states = await ledger.windows(elsewhere.map(({ deciding }) => deciding.window.id));
  const spentIn = new Map(states.map(({ windowId, spent }) => [windowId, spent]));
  // A window is made by the first request under its limit; before that, the records tell.
  const unopened = elsewhere.filter(({ deciding }) => !spentIn.has(deciding.window.id));
  const recorded = await effective.spentSince(
    unopened.map(({ principal, deciding }) => ({ sub: principal.sub, since: deciding.window.startsAt })),
  );
  for (const cell of elsewhere) cell.spent = spentIn.get(cell.deciding.window.id) ?? 0n;
  for (const [i, cell] of unopened.entries()) cell.spent = recorded[i] ?? 0n;
}

async function capsOf(
  ledger: AdminDependencies['ledger'],
  reader: CapReader,
  cells: readonly Cell[],
  at: number,
): Promise<readonly (readonly Record<string, unknown>[])[]> {
  const applied = cells.map(({ principal, period }) =>
    reader.resolve(holderOf(principal), at).filter(({ limit }) => limit.period === period),
  );
  const ids = new Set(applied.flat().map(({ window }) => window.id));
  const states = new Map((await ledger.windows([...ids])).map((state) => [state.windowId, state]));
  return applied.map((caps) =>
    caps.map(({ limit, amount, window }) => {
      const state = states.get(window.id);
      return {
        spend_limit_id: limit.id,
        policy: limit.policyName,
        unit: unitView(limit.unit),
        currency: currencyView(limit.unit),
        sharing: limit.sharing,
        amount: amountView(limit.unit, amount),
        used: amountView(limit.unit, state?.spent ?? 0n),
        held: amountView(limit.unit, state?.held ?? 0n),
        resets_at: window.endsAt.toISOString(),
      };
    }),
  );
}

function holderOf({ sub, email, groups }: KnownPrincipal): CapHolder {
  return { sub, groups, ...(email === null ? {} : { email }) };
}
