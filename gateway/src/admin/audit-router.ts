import type { LimitChange } from '@claude-gateway/prisma';
import { Router } from 'express';
import type { AdminDependencies } from './dependencies.ts';
import { invalid } from './input.ts';
import { LIMITS_PATH } from './paths.ts';
import { limitOf, single } from './query.ts';

/** `GET /audit`: who changed which limit, the latest first. */
export function createAuditRouter({ limits }: Pick<AdminDependencies, 'limits'>): Router {
  const router = Router({ caseSensitive: true, strict: true });
  router.get(`${LIMITS_PATH}/audit`, async (request, response) => {
    const after = single(request, 'after_id');
    if (after !== undefined && !/^[0-9]{1,18}$/.test(after)) {
      throw invalid('after_id', 'must be the id of an audit event');
    }
    const { changes, hasMore } = await limits.changes({
      limit: limitOf(request),
      ...(after === undefined ? {} : { before: after }),
    });
    response.json({ data: changes.map(changeView), has_more: hasMore });
  });
  return router;
}

/** The reference knows one action for creating and replacing. */
const ACTIONS = {
  create: 'spend_limit.upsert',
  update: 'spend_limit.upsert',
  delete: 'spend_limit.delete',
} as const;

function changeView(change: LimitChange): Record<string, unknown> {
  return {
    type: 'audit_event',
    id: change.id,
    created_at: change.at.toISOString(),
    actor: change.actor,
    action: ACTIONS[change.action],
    target_id: change.limitId,
    before: change.before,
    after: change.after,
    reason: change.reason,
  };
}
