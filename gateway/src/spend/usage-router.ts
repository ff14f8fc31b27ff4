import type { IncomingHttpHeaders } from 'node:http';
import type { LedgerStore } from '@claude-gateway/prisma';
import { Router, type RequestHandler } from 'express';
import { contextOf, type RequestContext } from '../http/context.ts';
import { ApiError } from '../http/errors.ts';
import type { Principal } from '../principal.ts';
import { toldOf, percentOf, severityOf, type Severity, type Standing } from './standing/standing.ts';
import { wholeCents } from './standing/wording.ts';
import type { AppliedCap, CapSnapshot } from './types.ts';

export interface UsageRouterDependencies {
  /** @throws ApiError 401 when the caller is not signed in. */
  readonly authenticate: (
    headers: IncomingHttpHeaders,
    context: RequestContext,
    options: { readonly allowApiKey: boolean },
  ) => Principal | Promise<Principal>;
  readonly caps: () => CapSnapshot;
  readonly ledger: Pick<LedgerStore, 'windows' | 'openWindows'>;
  /**
   * What somebody spent since each of these moments, in nano-USD, in their order.
   *
   * @throws StoreUnavailableError
   */
  readonly spendSince: (sub: string, since: readonly Date[]) => Promise<readonly bigint[]>;
  readonly isUnavailable: (error: unknown) => boolean;
  readonly clock: () => Date;
}

/** What Claude Code shows beside the percentage: `$271.40 / $500.00 spent`. Amounts are cents. */
interface ExtraUsage {
  readonly is_enabled: true;
  /** Named so whatever the period; null for who has no limit. */
  readonly monthly_limit: number | null;
  readonly used_credits: number;
  /** Whole percents. */
  readonly utilization: number | null;
  readonly currency: 'USD';
}

interface PeriodUsage {
  readonly limit: null;
  readonly used_credits: number;
  readonly utilization: null;
}

interface LimitRow {
  readonly kind: 'spend' | 'tokens';
  readonly group: AppliedCap['limit']['period'];
  readonly percent: number;
  readonly resets_at: string;
  readonly severity: Severity;
  readonly is_active: boolean;
}

export interface UsageAnswer {
  readonly extra_usage: ExtraUsage & { readonly daily?: PeriodUsage; readonly weekly?: PeriodUsage };
  readonly limits: readonly LimitRow[];
}

/** `GET /api/oauth/usage`: the caller's own caps and spending, as they are now. */
export function createUsageRouter(dependencies: UsageRouterDependencies): Router {
  const router = Router({ caseSensitive: true, strict: true });
  const answer: RequestHandler = async (request, response) => {
    const principal = await dependencies.authenticate(request.headers, contextOf(request), {
      allowApiKey: false,
    });
    response.set('cache-control', 'no-store').json(await usageOf(principal, dependencies));
  };
  router.route('/api/oauth/usage').get(answer).all(methodNotAllowed);
  return router;
}

async function usageOf(principal: Principal, dependencies: UsageRouterDependencies): Promise<UsageAnswer> {
  const now = dependencies.clock();
  const caps = dependencies.caps().resolve(principal, now.getTime());
  try {
    const standings = await standingsOf(caps, dependencies.ledger);
    const told = toldOf(standings);
    // Clients put these dollars beside the percentage of the headers, so they have to be of the same cap.
    const active = told?.cap.limit.unit === 'nano_usd' ? told : undefined;
    return {
      extra_usage:
        active === undefined ? await uncapped(principal.sub, now, dependencies) : extraUsage(active),
      limits: standings.toSorted(byPeriod).map((standing) => limitRow(standing, standing === active)),
    };
  } catch (error) {
    if (!dependencies.isUnavailable(error)) throw error;
    throw new ApiError('api_error', 'spend limit unavailable', {
      status: 503,
      headers: { 'cache-control': 'no-store' },
      cause: error,
    });
  }
}

async function standingsOf(
  caps: readonly AppliedCap[],
  ledger: UsageRouterDependencies['ledger'],
): Promise<Standing[]> {
  if (caps.length === 0) return [];
  const spent = new Map<string, bigint>();
  const read = await ledger.windows(caps.map(({ window }) => window.id));
  for (const state of read) spent.set(state.windowId, state.spent);
  const missing = caps.flatMap(({ window }) => (spent.has(window.id) ? [] : [window]));
  // A cap whose window no request has opened yet may have been spent from all the same, before it was set.
  const opened = missing.length === 0 ? [] : await ledger.openWindows(missing);
  for (const state of opened) spent.set(state.windowId, state.spent);
  return caps.map((cap) => ({ cap, spent: spent.get(cap.window.id) ?? 0n }));
}

function extraUsage(standing: Standing): ExtraUsage {
  return {
    is_enabled: true,
    monthly_limit: centsOf(standing.cap.amount),
    used_credits: centsOf(standing.spent),
    utilization: percentOf(standing),
    currency: 'USD',
  };
}

/** Without a limit in dollars to tell of: what was spent, by the calendar of UTC. */
async function uncapped(
  sub: string,
  now: Date,
  { spendSince }: UsageRouterDependencies,
): Promise<UsageAnswer['extra_usage']> {
  const [month = 0n, day = 0n, week = 0n] = await spendSince(sub, [
    startOfMonth(now),
    startOfDay(now),
    startOfWeek(now),
  ]);
  const period = (spent: bigint): PeriodUsage => ({
    limit: null,
    used_credits: centsOf(spent),
    utilization: null,
  });
  return {
    is_enabled: true,
    monthly_limit: null,
    used_credits: centsOf(month),
    utilization: null,
    currency: 'USD',
    daily: period(day),
    weekly: period(week),
  };
}

function limitRow(standing: Standing, isActive: boolean): LimitRow {
  const { limit, window } = standing.cap;
  return {
    kind: limit.unit === 'nano_usd' ? 'spend' : 'tokens',
    group: limit.period,
    percent: percentOf(standing),
    resets_at: window.endsAt.toISOString(),
    severity: severityOf(standing),
    is_active: isActive,
  };
}

const PERIODS = ['daily', 'weekly', 'monthly'];

function byPeriod(a: Standing, b: Standing): number {
  return PERIODS.indexOf(a.cap.limit.period) - PERIODS.indexOf(b.cap.limit.period);
}

function centsOf(nanoUsd: bigint): number {
  return Number(wholeCents(nanoUsd));
}

const DAY_MS = 86_400_000;

function startOfDay(now: Date): Date {
  return new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth(), now.getUTCDate()));
}

/** Weeks begin on Monday. */
function startOfWeek(now: Date): Date {
  return new Date(startOfDay(now).getTime() - ((now.getUTCDay() + 6) % 7) * DAY_MS);
}

function startOfMonth(now: Date): Date {
  return new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth(), 1));
}

const methodNotAllowed: RequestHandler = (request) => {
  throw new ApiError('invalid_request_error', `${request.method} is not possible here.`, {
    status: 405,
    headers: { allow: 'GET, HEAD' },
  });
};
