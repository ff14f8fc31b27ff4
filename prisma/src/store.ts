import { awaitPostgres, connectionTarget, createPool } from './connection.ts';
import { Database } from './database.ts';
import { PostgresDeviceGrantStore } from './device-grants.ts';
import { PostgresEffectiveStore } from './ledger/effective.ts';
import { PostgresIncreaseRequestStore } from './ledger/increase-requests.ts';
import { PostgresLimitStore } from './ledger/limits.ts';
import { PostgresAlertStore } from './ledger/alerts.ts';
import { PostgresLedgerStore } from './ledger/ledger-store.ts';
import { UsageRollup } from './ledger/usage-rollup.ts';
import { PostgresUsageStore } from './ledger/usage.ts';
import { PostgresManagedPolicyStore } from './managed/managed-policies.ts';
import { PostgresSettingsClientStore } from './managed/settings-clients.ts';
import { migrateWith } from './migrations.ts';
import { Notifications } from './notifications.ts';
import { PostgresOperatorPolicyStore } from './operator/operator-store.ts';
import { PostgresRateLimitStore } from './rate-limits.ts';
import { PostgresRevocationFeed } from './revocation-feed.ts';
import { PostgresSessionStore } from './sessions.ts';
import { Sweeper } from './sweeper.ts';
import type { Store, StoreOptions } from './types.ts';

/**
 * Connects, brings the database to this version's schema, loads the revocations, and stays. As an operator, only the
 * first two.
 *
 * @throws Error naming host, port, database and the reason: PostgreSQL away, wrong credentials, a migration that
 *   failed.
 */
export async function openStore(options: StoreOptions): Promise<Store> {
  const target = connectionTarget(options);
  const { onEvent, role = 'gateway' } = options;
  const listening = role === 'gateway' ? 1 : 0;
  const pool = createPool(target, Math.max(options.maxConnections - listening, 1), onEvent);
  const database = new Database(pool);
  const notifications = new Notifications(target, onEvent);
  const feed = new PostgresRevocationFeed(database, notifications, onEvent);
  const sweeper = new Sweeper(database, onEvent, options.retention);
  const rollup = new UsageRollup(database, onEvent);
  const close = async (): Promise<void> => {
    await Promise.all([feed.close(), sweeper.close(), rollup.close(), notifications.close()]);
    await database.close();
  };

  try {
    await awaitPostgres(pool, target, options);
    const applied = await migrateWith(pool, target, onEvent);
    if (applied.length > 0)
      onEvent?.('info', 'migrated the database', { target: target.name, migrations: applied });
    if (role === 'gateway') await Promise.all([feed.start(), database.warmUp()]);
  } catch (error) {
    await close();
    throw error;
  }
  if (role === 'gateway') {
    notifications.start();
    sweeper.start();
    rollup.start();
  }

  const limits = new PostgresLimitStore(database, notifications);
  let closed: Promise<void> | undefined;
  return {
    deviceGrants: new PostgresDeviceGrantStore(database),
    sessions: new PostgresSessionStore(database, feed, options.revocationTtlSeconds),
    revocations: feed,
    rateLimits: new PostgresRateLimitStore(database),
    limits,
    effective: new PostgresEffectiveStore(database),
    increaseRequests: new PostgresIncreaseRequestStore(database, limits),
    ledger: new PostgresLedgerStore(database, notifications),
    usage: new PostgresUsageStore(database, rollup),
    alerts: new PostgresAlertStore(database),
    managedPolicies: new PostgresManagedPolicyStore(database, notifications),
    settingsClients: new PostgresSettingsClientStore(database),
    policies: new PostgresOperatorPolicyStore(database),
    ping: async () => {
      await database.query('SELECT 1');
    },
    close: () => (closed ??= close()),
  };
}
