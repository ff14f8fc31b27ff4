import type { LimitContent, LimitWrite, SpendLimit } from '@claude-gateway/prisma';
import { Router, type Request } from 'express';
import { ApiError } from '../http/errors.ts';
import { callerOf, type AdminAuth } from './admin-auth.ts';
import { jsonOf, optionalJsonOf, readBody } from './body.ts';
import type { AdminDependencies } from './dependencies.ts';
import { choiceOf, invalid, objectOf, textOf } from './input.ts';
import { contentOf, MAX_REASON, readLimit, type LimitInput } from './limit-input.ts';
import type { LimitSnapshot, LimitSnapshots } from './limit-snapshot.ts';
import { amountView, isClassic, poolOf, scopeView, unitView, type LimitViews } from './limit-view.ts';
import { LIMITS_PATH } from './paths.ts';
import {
  etagOf,
  isUnchanged,
  ownedByResource,
  preconditionFailed,
  preconditionsOf,
  type Preconditions,
} from './preconditions.ts';
import { limitOf, repeated, single } from './query.ts';

/** How often settings that a call leaves alone are read again, when somebody writes the same limit meanwhile. */
const MAX_ATTEMPTS = 5;

interface Parts {
  readonly auth: AdminAuth;
  readonly snapshots: LimitSnapshots;
  readonly views: LimitViews;
}

/** The limits themselves: list, get, set, delete. */
export function createLimitsRouter(
  dependencies: Pick<AdminDependencies, 'limits' | 'limitsInForce' | 'audit' | 'clock'>,
  { auth, snapshots, views }: Parts,
): Router {
  const { limits, limitsInForce, audit, clock } = dependencies;
  const router = Router({ caseSensitive: true, strict: true });

  router.get(LIMITS_PATH, async (request, response) => {
    const snapshot = await snapshots.current();
    const page = pageOf(request, snapshot);
    const data = await views.all(page.limits, snapshot);
    response.json({
      data,
      has_more: page.hasMore,
      first_id: page.limits[0]?.id ?? null,
      last_id: page.limits.at(-1)?.id ?? null,
    });
  });

  router.post(LIMITS_PATH, auth.write, readBody, async (request, response) => {
    const input = readLimit(jsonOf(request));
    const { limit } = await write(request, input);
    if (input.pool.change !== 'keep') await writePool(request, limit, input);
    await limitsInForce();
    const snapshot = await snapshots.current();
    const written = snapshot.get(limit.id) ?? limit;
    response.set('etag', etagOf(written)).json(await views.one(written, snapshot));
  });

  router.get(`${LIMITS_PATH}/:id`, async (request, response) => {
    const snapshot = await snapshots.current();
    const limit = snapshot.get(String(request.params['id']));
    if (limit === undefined) throw noSuchLimit();
    response.set('etag', etagOf(limit));
    if (isUnchanged(request, limit)) response.status(304).end();
    else response.json(await views.one(limit, snapshot));
  });

  router.delete(`${LIMITS_PATH}/:id`, auth.write, readBody, async (request, response) => {
    const reason = reasonOf(optionalJsonOf(request));
    const snapshot = await snapshots.current();
    const limit = snapshot.get(String(request.params['id']));
    if (limit === undefined) throw noSuchLimit();
    await remove(request, limit, reason, preconditionsOf(request, limit));
    const pool = poolOf(limit, snapshot);
    if (pool !== undefined && pool.owner === null) await remove(request, pool, reason, {});
    await limitsInForce();
    response.json({ type: 'spend_limit_deleted', id: limit.id });
  });

  /** Settings that the call does not name stay as they are, even when somebody else changes them meanwhile. */
  async function write(
    request: Request,
    input: Pick<LimitInput, 'key' | 'amount' | 'settings' | 'reason'>,
  ): Promise<{ readonly limit: SpendLimit }> {
    for (let attempt = 1; ; attempt++) {
      const existing = (await snapshots.current()).find(input.key);
      const demanded = preconditionsOf(request, existing);
      const guarded = demanded.ifMatch !== undefined || demanded.ifNoneMatch === true;
      const expected: Preconditions = guarded
        ? demanded
        : existing === undefined
          ? { ifNoneMatch: true }
          : { ifMatch: etagOf(existing).slice(1, -1) };
      const result = await put(request, contentOf(input, existing), input.reason, expected);
      if (result.state === 'written') return result;
      if (result.state === 'owned') throw ownedByResource(result.limit);
      if (guarded) throw preconditionFailed();
      if (attempt === MAX_ATTEMPTS) {
        throw new ApiError('api_error', 'Too many writes to this limit at once: try again.', { status: 503 });
      }
    }
  }

  async function put(
    request: Request,
    content: LimitContent,
    reason: string | null,
    expected: Preconditions,
  ): Promise<LimitWrite> {
    const { actor } = callerOf(request);
    const result = await limits.put(content, { actor, reason, now: clock(), ...expected });
    if (result.state === 'written') tell('admin.limit.upsert', actor, result.limit);
    return result;
  }

  async function writePool(request: Request, limit: SpendLimit, input: LimitInput): Promise<void> {
    const key = { ...input.key, sharing: 'pooled' as const };
    if (input.pool.change === 'set') {
      const existing = (await snapshots.current()).find(key);
      const pool = { key, amount: input.pool.amount, settings: input.settings };
      const result = await put(request, contentOf(pool, existing), input.reason, {});
      if (result.state === 'owned') throw ownedByResource(result.limit);
      return;
    }
    const pool = poolOf(limit, await snapshots.current());
    if (pool !== undefined) await remove(request, pool, input.reason, {});
  }

  async function remove(
    request: Request,
    limit: SpendLimit,
    reason: string | null,
    expected: Preconditions,
  ): Promise<void> {
    const { actor } = callerOf(request);
    const { ifMatch } = expected;
    const result = await limits.delete(limit.id, {
      actor,
      reason,
      now: clock(),
      ...(ifMatch === undefined ? {} : { ifMatch }),
    });
    if (result.state === 'missing') throw noSuchLimit();
    if (result.state === 'owned') throw ownedByResource(result.limit);
    if (result.state === 'conflict') throw preconditionFailed();
    tell('admin.limit.delete', actor, limit);
  }

  function tell(event: 'admin.limit.upsert' | 'admin.limit.delete', actor: string, limit: SpendLimit): void {
    audit(event, {
      actor,
      target: limit.id,
      scope: scopeView(limit.scope),
      period: limit.period,
      unit: unitView(limit.unit),
      sharing: limit.sharing,
      amount: amountView(limit.unit, limit.amount),
    });
  }

  return router;
}

const SCOPE_TYPES = ['organization', 'rbac_group', 'user'] as const;

/**
 * Which limits a list shows: those that clients of Anthropic's Admin API understand, and `include[]=pools` or
 * `include[]=tokens` for the others.
 */
function pageOf(
  request: Request,
  snapshot: LimitSnapshot,
): { readonly limits: readonly SpendLimit[]; readonly hasMore: boolean } {
  const size = limitOf(request);
  const scopeType = choiceOf(single(request, 'scope_type'), 'scope_type', SCOPE_TYPES);
  const included = includedOf(request);
  const [afterId, beforeId] = [single(request, 'after_id'), single(request, 'before_id')];
  if (afterId !== undefined && beforeId !== undefined) {
    throw new ApiError('invalid_request_error', 'after_id and before_id exclude each other: send one.');
  }
  const edge = (id: string, field: string): number => {
    const index = snapshot.limits.findIndex((limit) => limit.id === id);
    if (index === -1) throw invalid(field, 'there is no spend limit with this id');
    return index;
  };
  const shown = (limit: SpendLimit): boolean =>
    (scopeType === undefined || limit.scope.type === scopeType) &&
    (isClassic(limit) || included.has(limit.unit === 'nano_usd' ? 'pools' : 'tokens'));
  if (beforeId !== undefined) {
    const before = snapshot.limits.slice(0, edge(beforeId, 'before_id')).filter(shown);
    return { limits: before.slice(-size), hasMore: before.length > size };
  }
  const start = afterId === undefined ? 0 : edge(afterId, 'after_id') + 1;
  const after = snapshot.limits.slice(start).filter(shown);
  return { limits: after.slice(0, size), hasMore: after.length > size };
}

function includedOf(request: Request): ReadonlySet<string> {
  const asked = repeated(request, 'include[]');
  return new Set(asked.flatMap((one) => choiceOf(one, 'include[]', ['pools', 'tokens'] as const) ?? []));
}

function reasonOf(body: unknown): string | null {
  return body === undefined ? null : textOf(objectOf(body)['reason'], 'reason', MAX_REASON);
}

function noSuchLimit(): ApiError {
  return new ApiError('not_found_error', 'There is no spend limit with this id.');
}
