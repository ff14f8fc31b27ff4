import type { IncreaseRequest, IncreaseResolution, PrincipalSpend } from '@claude-gateway/prisma';
import { Router, type Request, type RequestHandler } from 'express';
import { contextOf } from '../http/context.ts';
import { ApiError } from '../http/errors.ts';
import type { Principal } from '../principal.ts';
import { callerOf, type AdminAuth } from './admin-auth.ts';
import { jsonOf, optionalJsonOf, readBody } from './body.ts';
import type { AdminDependencies, CapReader } from './dependencies.ts';
import { increaseRequestView } from './increase-request-view.ts';
import { choiceOf, objectOf, textOf } from './input.ts';
import { amountOf, contentOf, MAX_REASON, periodOf } from './limit-input.ts';
import type { LimitSnapshots } from './limit-snapshot.ts';
import type { LimitViews } from './limit-view.ts';
import { amountView } from './limit-view.ts';
import { INCREASE_REQUESTS_PATH } from './paths.ts';
import { PERIODS, startOf } from './periods.ts';
import { ownedByResource } from './preconditions.ts';
import { limitOf, pageToken, readPageToken, repeated, single } from './query.ts';
import { spendSummaries } from './spend-summary.ts';

const ID = /^slir_[0-9a-z]{1,64}$/;
/** Where a page ends: a number of PostgreSQL's. */
const SEQUENCE = /^[1-9][0-9]{0,17}$/;
const STATUSES = ['pending', 'approved', 'denied'] as const;

interface Parts {
  readonly auth: AdminAuth;
  readonly snapshots: LimitSnapshots;
  readonly views: LimitViews;
}

/** Requests for more: made by developers with their own sign-in, read by them, resolved by administrators. */
export function createIncreaseRequestsRouter(dependencies: AdminDependencies, parts: Parts): Router {
  const { increaseRequests, limitsInForce, effective, principals, audit, authenticate, clock } = dependencies;
  const { auth, snapshots, views } = parts;
  const router = Router({ caseSensitive: true, strict: true });
  router.use(INCREASE_REQUESTS_PATH, noStore);

  router.get(INCREASE_REQUESTS_PATH, async (request, response) => {
    const own = await ownSubject(request);
    const subs = own === undefined ? nonEmpty(repeated(request, 'actor_ids[]')) : [own];
    const statuses = nonEmpty(
      repeated(request, 'status[]').flatMap((one) => choiceOf(one, 'status[]', STATUSES) ?? []),
    );
    const page = single(request, 'page');
    const { requests, next } = await increaseRequests.list({
      limit: limitOf(request),
      ...(page === undefined ? {} : { after: readPageToken(page, { r: SEQUENCE }).r }),
      ...(subs === undefined ? {} : { subs }),
      ...(statuses === undefined ? {} : { statuses }),
    });
    response.json({ data: await render(requests), next_page: next === null ? null : pageToken({ r: next }) });
  });

  /** Before the body: nothing of somebody unknown is kept. */
  const signedIn: RequestHandler = async (request, response, next) => {
    response.locals['principal'] = await authenticate(request.headers, contextOf(request));
    next();
  };

  router.post(INCREASE_REQUESTS_PATH, signedIn, readBody, async (request, response) => {
    const principal = response.locals['principal'] as Principal;
    const fields = objectOf(jsonOf(request));
    const period = periodOf(fields['period']) ?? 'monthly';
    const requestedAmount = amountOf(fields['amount'] ?? null, 'amount', 'usd');
    const reason = textOf(fields['reason'], 'reason', MAX_REASON);
    const now = clock();
    const { sub, kind, email = null, name = null, groups } = principal;
    await principals.touch([{ sub, kind, email, name, groups, seenAt: now }]);
    const { caps } = await snapshots.current();
    const deciding = caps.memberLimit(principal, period, now.getTime());
    const result = await increaseRequests.create({
      sub,
      period,
      currentAmount: deciding?.limit.amount ?? null,
      requestedAmount,
      reason,
      actor: `oidc:${sub}`,
      now,
    });
    if (result.state === 'pending') {
      throw new ApiError(
        'invalid_request_error',
        `You have asked for more ${period} already (${result.request.id}): it is still to be decided.`,
        { status: 409 },
      );
    }
    tell('admin.increase_request.create', `oidc:${sub}`, result.request);
    response.json((await render([result.request]))[0]);
  });

  router.get(`${INCREASE_REQUESTS_PATH}/:id`, async (request, response) => {
    const own = await ownSubject(request);
    const found = await find(idOf(request));
    if (own !== undefined && found.sub !== own) throw noSuchRequest();
    response.json((await render([found]))[0]);
  });

  router.post(`${INCREASE_REQUESTS_PATH}/:id/approve`, auth.write, readBody, async (request, response) => {
    const fields = objectOf(jsonOf(request));
    const amount = amountOf(fields['amount'], 'amount', 'usd');
    const asked = fields['period'] === null ? undefined : periodOf(fields['period']);
    const note = textOf(fields['note'], 'note', MAX_REASON);
    const id = idOf(request);
    const snapshot = await snapshots.current();
    const result = await increaseRequests.approve(
      id,
      ({ sub, period }) => {
        const key = {
          scope: { type: 'user' as const, user: sub },
          period: asked ?? period,
          unit: 'nano_usd' as const,
          sharing: 'per_member' as const,
        };
        return contentOf({ key, amount, settings: {} }, snapshot.find(key));
      },
      { actor: callerOf(request).actor, note, now: clock() },
    );
    const resolved = resolvedOf(result);
    await limitsInForce();
    tell('admin.increase_request.approve', callerOf(request).actor, resolved.request);
    const [view] = await render([resolved.request]);
    const spendLimit =
      resolved.limit === null ? null : await views.one(resolved.limit, await snapshots.current());
    response.json({ ...view, spend_limit: spendLimit });
  });

  router.post(`${INCREASE_REQUESTS_PATH}/:id/deny`, auth.write, readBody, async (request, response) => {
    const body = optionalJsonOf(request);
    const note = body === undefined ? null : textOf(objectOf(body)['note'], 'note', MAX_REASON);
    const { actor } = callerOf(request);
    const result = await increaseRequests.deny(idOf(request), { actor, note, now: clock() });
    const resolved = resolvedOf(result);
    tell('admin.increase_request.deny', actor, resolved.request);
    response.json((await render([resolved.request]))[0]);
  });

  /** Administrators see everything; everybody else their own: then whose that is. */
  async function ownSubject(request: Request): Promise<string | undefined> {
    if ((await auth.identify(request)) !== undefined) return undefined;
    const principal: Principal = await authenticate(request.headers, contextOf(request));
    return principal.sub;
  }

  async function find(id: string): Promise<IncreaseRequest> {
    const found = await increaseRequests.get(id);
    if (found === null) throw noSuchRequest();
    return found;
  }

  /** What is pending comes with the requester's standing, as it is now. */
  async function render(requests: readonly IncreaseRequest[]): Promise<readonly Record<string, unknown>[]> {
    const now = clock();
    const starts = Object.fromEntries(PERIODS.map((period) => [period, startOf(period, now)]));
    const subs = requests.flatMap(({ sub, resolvedBy }) => [sub, ...personOf(resolvedBy)]);
    const known = await effective.of([...new Set(subs)], starts);
    const bySub = new Map(known.map((row) => [row.principal.sub, row]));
    const { caps } = await snapshots.current();
    return Promise.all(
      requests.map(async (one) => {
        const row = bySub.get(one.sub);
        const summary =
          one.status === 'pending' && row !== undefined ? await standing(caps, row, one, now) : null;
        return increaseRequestView(one, (sub) => bySub.get(sub)?.principal, summary);
      }),
    );
  }

  async function standing(
    caps: CapReader,
    row: PrincipalSpend,
    { period }: IncreaseRequest,
    now: Date,
  ): Promise<Record<string, unknown> | null> {
    const [summary] = await spendSummaries(dependencies, caps, [row], [period], now);
    return summary ?? null;
  }

  function tell(
    event: 'admin.increase_request.create' | 'admin.increase_request.approve' | 'admin.increase_request.deny',
    actor: string,
    request: IncreaseRequest,
  ): void {
    audit(event, {
      actor,
      target: request.id,
      sub: request.sub,
      period: request.period,
      requested_amount: amountView('nano_usd', request.requestedAmount),
      ...(request.status === 'approved'
        ? { approved_amount: amountView('nano_usd', request.approvedAmount) }
        : {}),
    });
  }

  return router;
}

const noStore: RequestHandler = (_request, response, next) => {
  response.set('cache-control', 'no-store');
  next();
};

function personOf(actor: string | null): readonly string[] {
  return actor?.startsWith('oidc:') === true ? [actor.slice('oidc:'.length)] : [];
}

function resolvedOf(result: IncreaseResolution): Extract<IncreaseResolution, { state: 'resolved' }> {
  switch (result.state) {
    case 'resolved':
      return result;
    case 'missing':
      throw noSuchRequest();
    case 'owned':
      throw ownedByResource(result.limit);
    case 'settled':
      throw new ApiError('invalid_request_error', `This request was ${result.request.status} already.`, {
        status: 409,
      });
  }
}

function idOf(request: Request): string {
  const id = String(request.params['id']);
  if (!ID.test(id)) throw noSuchRequest();
  return id;
}

function noSuchRequest(): ApiError {
  return new ApiError('not_found_error', 'There is no request for more with this id.');
}

function nonEmpty<T>(list: readonly T[]): readonly T[] | undefined {
  return list.length === 0 ? undefined : list;
}
