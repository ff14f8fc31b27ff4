import { createPool, Target } from './connection.ts';
import { ConnectionShare, divideConnections } from './connection-share.ts';
import { Database } from './database.ts';
import { asStoreError } from './errors.ts';
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
import { awaitPostgres, startOf, untilServed } from './start.ts';
import { Sweeper } from './sweeper.ts';
import type { Store, StoreOptions } from './types.ts';

/** How many calls of each kind may wait for a connection, each for three seconds at most; a statement takes about one ms. */
const MAX_WAITING = { signIn: 64, api: 32, reports: 8, background: 256 };

/** How long a start waits to know whether replicas hear each other, in ms. */
const KNOWN_WITHIN_MS = 1_500;

/**
 * Connects, brings the database to this version's schema, loads the revocations, and stays. As an operator, only the
 * first two.
 *
 * @throws Error naming host, port, database and the reason: PostgreSQL away, wrong credentials, a migration that
 *   failed.
 */
export async function openStore(options: StoreOptions): Promise<Store> {
  const target = new Target(options);
  const start = startOf(options);
  const { onEvent, role = 'gateway' } = options;
  const isGateway = role === 'gateway';
  const budget = divideConnections(options.maxConnections);
  const pool = createPool(target, isGateway ? budget.common : options.maxConnections, onEvent);
  const database = new Database(pool);
  // Strangers can make the rest busy; what holds and settles must not wait for them.
  const ledgerDatabase = isGateway ? new Database(createPool(target, budget.ledger, onEvent)) : database;
  const onShed = (name: string, refused: number): void =>
    onEvent?.('warn', 'too many calls at once: some are answered with 503', { share: name, refused });
  const share = (name: string, maxActive: number, maxWaiting: number): Database =>
    isGateway ? database.within(new ConnectionShare({ name, maxActive, maxWaiting, onShed })) : database;
  const signIn = share('sign-in', budget.shares.signIn, MAX_WAITING.signIn);
  const api = share('the admin and usage APIs', budget.shares.api, MAX_WAITING.api);
  const reports = share('reports', budget.shares.reports, MAX_WAITING.reports);
  const background = share('background work', budget.shares.background, MAX_WAITING.background);
  const notifications = new Notifications({
    target,
    notify: (channel, payload) => background.query('SELECT pg_notify($1, $2)', [channel, payload]),
    onEvent,
  });
  const feed = new PostgresRevocationFeed(background, notifications, onEvent);
  const sweeper = new Sweeper(background, onEvent, options.retention);
  const rollup = new UsageRollup(background, onEvent);
  const close = async (): Promise<void> => {
    await Promise.all([feed.close(), sweeper.close(), rollup.close(), notifications.close()]);
    await Promise.all([database.close(), ...(isGateway ? [ledgerDatabase.close()] : [])]);
  };

  try {
    await awaitPostgres(target, options, start);
    const applied = await untilServed(
      () =>
        migrateWith(pool, target, onEvent).catch((error: unknown) => {
          throw asStoreError(error);
        }),
      target,
      start,
    );
    if (applied.length > 0)
      onEvent?.('info', 'migrated the database', { target: target.name, migrations: applied });
    if (isGateway) {
      notifications.start();
      await untilServed(() => Promise.all([feed.start(), database.warmUp()]), target, start);
      await notifications.known(KNOWN_WITHIN_MS);
    }
  } catch (error) {
    await close();
    throw error;
  }
  if (isGateway) {
    sweeper.start();
    rollup.start();
  }

  const limits = new PostgresLimitStore(api, background, notifications);
  let closed: Promise<void> | undefined;
  return {
    deviceGrants: new PostgresDeviceGrantStore(signIn),
    sessions: new PostgresSessionStore(signIn, feed, options.revocationTtlSeconds),
    revocations: feed,
    rateLimits: new PostgresRateLimitStore(signIn),
    limits,
    effective: new PostgresEffectiveStore(api),
    increaseRequests: new PostgresIncreaseRequestStore(api, limits),
    ledger: new PostgresLedgerStore(ledgerDatabase, notifications),
    windows: new PostgresLedgerStore(api, notifications),
    usage: new PostgresUsageStore({ api, reports, background }, rollup),
    alerts: new PostgresAlertStore(background),
    managedPolicies: new PostgresManagedPolicyStore(background, notifications),
    settingsClients: new PostgresSettingsClientStore(background),
    policies: new PostgresOperatorPolicyStore(database),
    ping: async () => {
      await background.query('SELECT 1');
    },
    duringStart: (work) => untilServed(work, target, start),
    renewCredentials: (credentials) => target.renew(credentials),
    close: () => (closed ??= close()),
  };
}
