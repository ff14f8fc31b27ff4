import type {
  BudgetPeriod,
  EffectiveStore,
  PeriodStarts,
  PrincipalSpend,
  SpendCursor,
} from '@claude-gateway/prisma';
import type { Request } from 'express';
import { ApiError } from '../http/errors.ts';
import { choiceOf, invalid } from './input.ts';
import { PERIODS, startOf } from './periods.ts';
import { badPage, limitOf, pageToken, readPageToken, repeated, single } from './query.ts';

const MAX_USERS = 100;
const MAX_QUERY = 256;
/** Whom a page begins after: whatever an identity provider calls people. */
const SUBJECT = /^[^]{1,1024}$/;
/** In nano-USD: PostgreSQL's bigint. */
const MAX_SPENT = 2n ** 63n - 1n;

/** What `GET /effective` asks. */
export interface EffectiveQuery {
  /** In the order in which rows are wanted. */
  readonly periods: readonly BudgetPeriod[];
  readonly caps: boolean;
  readonly who: (store: EffectiveStore, now: Date) => Promise<EffectivePage>;
}

export interface EffectivePage {
  readonly rows: readonly PrincipalSpend[];
  readonly nextPage: string | null;
}

/** @throws ApiError 400 naming the parameter. */
export function readEffectiveQuery(request: Request): EffectiveQuery {
  const limit = limitOf(request);
  const periods = periodsOf(request);
  const sort = choiceOf(single(request, 'sort'), 'sort', ['spend_desc'] as const);
  const [only, ...others] = periods;
  if (sort !== undefined && (only === undefined || others.length > 0)) {
    throw new ApiError('invalid_request_error', 'sort=spend_desc needs exactly one period[].');
  }
  const caps = repeated(request, 'include[]').map((one) => choiceOf(one, 'include[]', ['caps'] as const));
  const users = repeated(request, 'user_ids[]');
  const wanted = periods.length === 0 ? PERIODS : periods;
  const common = { periods: wanted, caps: caps.length > 0 };

  if (users.length > MAX_USERS) throw invalid('user_ids[]', `at most ${MAX_USERS} in one call`);
  if (users.length > 0) {
    return {
      ...common,
      who: async (store, now) => ({ rows: await store.of(users, startsOf(wanted, now)), nextPage: null }),
    };
  }
  const query = single(request, 'q');
  if (query !== undefined && query.length > MAX_QUERY) {
    throw invalid('q', `must have at most ${MAX_QUERY} characters`);
  }
  const filter = { limit, ...(query ? { query } : {}) };
  const page = single(request, 'page');
  if (sort === undefined || only === undefined) {
    const after = page === undefined ? undefined : readPageToken(page, { p: SUBJECT }).p;
    return { ...common, who: (store, now) => bySubject(store, now, wanted, { ...filter, after }) };
  }
  const after = page === undefined ? undefined : cursorOf(page);
  return { ...common, who: (store, now) => bySpend(store, now, only, { ...filter, after }) };
}

interface Filter<Cursor> {
  readonly limit: number;
  readonly query?: string;
  readonly after: Cursor | undefined;
}

async function bySubject(
  store: EffectiveStore,
  now: Date,
  periods: readonly BudgetPeriod[],
  { after, ...filter }: Filter<string>,
): Promise<EffectivePage> {
  const since = startsOf(periods, now);
  const { rows, hasMore } = await store.page({ ...filter, since, ...(after === undefined ? {} : { after }) });
  const last = rows.at(-1);
  return { rows, nextPage: hasMore && last !== undefined ? pageToken({ p: last.principal.sub }) : null };
}

async function bySpend(
  store: EffectiveStore,
  now: Date,
  period: BudgetPeriod,
  { after, ...filter }: Filter<SpendCursor>,
): Promise<EffectivePage> {
  const { rows, hasMore } = await store.topSpenders({
    ...filter,
    period,
    since: startOf(period, now),
    ...(after === undefined ? {} : { after }),
  });
  const last = rows.at(-1);
  if (!hasMore || last === undefined) return { rows, nextPage: null };
  return { rows, nextPage: pageToken({ p: last.principal.sub, s: String(last.spent[period] ?? 0n) }) };
}

function cursorOf(page: string): SpendCursor {
  const { p, s } = readPageToken(page, { p: SUBJECT, s: /^(0|[1-9][0-9]{0,18})$/ });
  const spent = BigInt(s);
  if (spent > MAX_SPENT) throw badPage();
  return { sub: p, spent };
}

function periodsOf(request: Request): readonly BudgetPeriod[] {
  const asked = repeated(request, 'period[]').map((one) => choiceOf(one, 'period[]', PERIODS));
  return [...new Set(asked)].filter((period) => period !== undefined);
}

function startsOf(periods: readonly BudgetPeriod[], now: Date): PeriodStarts {
  return Object.fromEntries(periods.map((period) => [period, startOf(period, now)]));
}
