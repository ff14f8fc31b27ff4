import { Router, type RequestHandler } from 'express';
import { createAdminAuth, type AdminAuth } from './admin-auth.ts';
import { createAuditRouter } from './audit-router.ts';
import type { AdminDependencies } from './dependencies.ts';
import { createEffectiveRouter } from './effective-router.ts';
import { adminErrors, nothingHere } from './errors.ts';
import { createIncreaseRequestsRouter } from './increase-requests-router.ts';
import { LimitSnapshots } from './limit-snapshot.ts';
import { LimitViews } from './limit-view.ts';
import { createLimitsRouter } from './limits-router.ts';
import { LIMITS_PATH, USAGE_PATH } from './paths.ts';

/**
 * The admin API: spend limits, who spent how much, the trail of changes, requests for more, and usage. Wire-compatible
 * with the reference gateway where it has the same; see docs/admin-api.md.
 *
 * @param auth Made by {@link createAdminAuth}, when others need it too.
 */
export function createAdminRouter(
  dependencies: AdminDependencies,
  auth: AdminAuth = createAdminAuth(dependencies),
): Router {
  const snapshots = new LimitSnapshots(dependencies.limits, dependencies.compileCaps);
  const views = new LimitViews(dependencies.effective, dependencies.clock);
  const router = Router({ caseSensitive: true, strict: true });

  router.use(LIMITS_PATH, noStore, auth.read);
  router.use(createEffectiveRouter(dependencies, snapshots));
  router.use(createAuditRouter(dependencies));
  router.use(createLimitsRouter(dependencies, { auth, snapshots, views }));
  router.use(LIMITS_PATH, nothingHere);

  router.use(createIncreaseRequestsRouter(dependencies, { auth, snapshots, views }));

  if (dependencies.usage !== undefined) router.use(USAGE_PATH, noStore, auth.read, dependencies.usage);
  router.use(adminErrors);
  return router;
}

const noStore: RequestHandler = (_request, response, next) => {
  response.set('cache-control', 'no-store');
  next();
};
