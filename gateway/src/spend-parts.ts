import type { GatewayConfig } from '@claude-gateway/contract';
import type { Parts } from './parts.ts';
import type { Resources } from './pipeline.ts';
import { BudgetAlerts } from './spend/alerts/budget-alerts.ts';
import { ChargedCaps } from './spend/alerts/charged-caps.ts';
import { compileCaps, type CapOptions } from './spend/caps/compile.ts';
import { startLimitFeed, type LimitFeed } from './spend/caps/limit-feed.ts';

/** The limits in force, kept current. */
export function limitFeed(
  config: GatewayConfig,
  { store, ledger, log, audit }: Resources,
  parts: Parts,
): Promise<LimitFeed> {
  const options = capOptions(config);
  return parts.use(
    'limits',
    options,
    async () => {
      const feed = await startLimitFeed({
        limits: store.limits,
        compile: (set) => compileCaps(set, options),
        log,
        audit,
      });
      feed.onSwap(() => ledger.policyChanged());
      return feed;
    },
    (feed) => feed.close(),
  );
}

/** Alerts about budgets, fed by settlements. @param source The public URL. */
export function budgetAlerts(
  config: GatewayConfig,
  source: string,
  resources: Resources,
  parts: Parts,
): Promise<{ alerts: BudgetAlerts; charged: ChargedCaps; stop: () => void }> {
  return parts.use(
    'alerts',
    [config.alerts, source],
    () => {
      const alerts = new BudgetAlerts({
        store: resources.store.alerts,
        webhooks: config.alerts.webhooks,
        source,
        log: resources.log,
        audit: resources.audit,
        clock: resources.clock,
        userAgent: `claude-gateway/${resources.version}`,
        allowLoopback: resources.allowLoopback,
        proxy: resources.proxy,
      });
      const charged = new ChargedCaps();
      const stop = resources.ledger.onStates((states) => alerts.observe(charged.statesOf(states)));
      return { alerts, charged, stop };
    },
    async ({ alerts, stop }) => {
      stop();
      await alerts.close();
    },
  );
}

/** How caps of several groups go together. Without `admin` as by its defaults: limits may come from elsewhere. */
export function capOptions({ admin, enforcement }: GatewayConfig): CapOptions {
  return {
    warnAtPercent: enforcement.warn_at_percent,
    groupLimitMode: admin?.group_limit_mode ?? 'min',
    ...(admin?.pooled_conflict_rule !== undefined && { pooledConflictRule: admin.pooled_conflict_rule }),
    ...(admin?.pooled_priority_order !== undefined && { pooledPriorityOrder: admin.pooled_priority_order }),
  };
}
