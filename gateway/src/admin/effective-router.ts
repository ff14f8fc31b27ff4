import { Router } from 'express';
import type { AdminDependencies } from './dependencies.ts';
import { readEffectiveQuery } from './effective-query.ts';
import type { LimitSnapshots } from './limit-snapshot.ts';
import { LIMITS_PATH } from './paths.ts';
import { spendSummaries } from './spend-summary.ts';

/** `GET /effective`: the limit that decides for each person and period, and what was spent. */
export function createEffectiveRouter(
  dependencies: Pick<AdminDependencies, 'effective' | 'flushSeen' | 'ledger' | 'clock'>,
  snapshots: LimitSnapshots,
): Router {
  const router = Router({ caseSensitive: true, strict: true });
  router.get(`${LIMITS_PATH}/effective`, async (request, response) => {
    const query = readEffectiveQuery(request);
    const now = dependencies.clock();
    await dependencies.flushSeen();
    const [{ caps }, { rows, nextPage }] = await Promise.all([
      snapshots.current(),
      query.who(dependencies.effective, now),
    ]);
    const data = await spendSummaries(dependencies, caps, rows, query.periods, now, query.caps);
    response.json({ data, next_page: nextPage });
  });
  return router;
}
