import { SCHEMA } from '../connection.ts';
import type { Database } from '../database.ts';
import { scopeNameOf } from '../ledger/limit-version.ts';
import { CLIENT_LIFETIME_MS } from '../managed/settings-clients.ts';
import { storable } from '../storable.ts';
import { readOwned } from './read-owned.ts';
import { replaceOwned } from './replace-owned.ts';
import { readSpending } from './spending.ts';
import type { LiveReplica, OperatorPolicyStore, OwnedRows } from './types.ts';

/** Versions of the gateway that do not tell when they were seen say at least when they started. */
const REPLICAS = `
  SELECT id, name, policy_revision::text, version, coalesce(seen_at, started_at) AS seen_at,
         coalesce(extract(epoch FROM clock_timestamp() - seen_at) * 1000, 0)::float8 AS silent_ms
    FROM ${SCHEMA}.replicas
   WHERE expires_at >= clock_timestamp() ORDER BY name, id`;

/**
 * `$1` groups, `$2` users as limits name them. People who signed in and have asked for nothing yet have a session, and
 * workloads and people whose session is gone are known by what they asked for.
 */
const SEEN = `
  SELECT DISTINCT 'group' AS kind, g.name
    FROM (SELECT groups FROM ${SCHEMA}.principals WHERE groups && $1::text[]
           UNION ALL SELECT groups FROM ${SCHEMA}.sessions WHERE groups && $1::text[]) k,
         unnest(k.groups) AS g (name)
   WHERE g.name = ANY ($1::text[])
   UNION ALL
  SELECT DISTINCT 'user', n.name
    FROM (SELECT sub, email_key FROM ${SCHEMA}.principals
           UNION ALL SELECT sub, email_key FROM ${SCHEMA}.sessions) k,
         LATERAL (VALUES (CASE WHEN position('@' IN k.sub) > 0 THEN lower(k.sub COLLATE "C") ELSE k.sub END), (k.email_key)) AS n (name)
   WHERE n.name = ANY ($2::text[])`;

/** `$1` since when clients count. */
const SETTINGS_CLIENTS = `
  SELECT s.owner_uid, count(*) FILTER (WHERE s.is_current)::integer AS current,
         count(*) FILTER (WHERE NOT s.is_current)::integer AS stale
    FROM (SELECT c.owner_uid, EXISTS (
                   SELECT FROM ${SCHEMA}.managed_policies p
                    WHERE p.owner_uid = c.owner_uid AND p.document_hash = c.document_hash) AS is_current
            FROM ${SCHEMA}.settings_clients c
           WHERE c.fetched_at > $1
             AND EXISTS (SELECT FROM ${SCHEMA}.managed_policies p WHERE p.owner_uid = c.owner_uid)) s
   GROUP BY s.owner_uid`;

export class PostgresOperatorPolicyStore implements OperatorPolicyStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  replaceOwned(changes: readonly OwnedRows[], now: Date): ReturnType<OperatorPolicyStore['replaceOwned']> {
    return replaceOwned(this.#database, changes, now);
  }

  readOwned(): ReturnType<OperatorPolicyStore['readOwned']> {
    return readOwned(this.#database);
  }

  async replicas(): Promise<readonly LiveReplica[]> {
    const rows = await this.#database.query<{
      id: string;
      name: string;
      silent_ms: number;
      policy_revision: string;
      version: string | null;
      seen_at: Date;
    }>(REPLICAS);
    return rows.map(({ id, name, policy_revision, version, seen_at, silent_ms }) => ({
      id,
      name,
      silentMs: silent_ms,
      policyRevision: BigInt(policy_revision),
      version,
      seenAt: seen_at,
    }));
  }

  spending(now: Date): ReturnType<OperatorPolicyStore['spending']> {
    return readSpending(this.#database, now);
  }

  async seen({
    groups,
    users,
  }: Parameters<OperatorPolicyStore['seen']>[0]): ReturnType<OperatorPolicyStore['seen']> {
    if (groups.length === 0 && users.length === 0) return { groups: new Set(), users: new Set() };
    const groupNames = new Map(groups.map((group) => [group, storable(group)]));
    const userNames = new Map(users.map((user) => [user, storable(scopeNameOf({ type: 'user', user }))]));
    const rows = await this.#database.query<{ kind: 'group' | 'user'; name: string }>(SEEN, [
      [...new Set(groupNames.values())],
      [...new Set(userNames.values())],
    ]);
    const seen = (kind: string): Set<string> =>
      new Set(rows.filter((row) => row.kind === kind).map(({ name }) => name));
    return { groups: asked(groupNames, seen('group')), users: asked(userNames, seen('user')) };
  }

  async settingsClients(now: Date): ReturnType<OperatorPolicyStore['settingsClients']> {
    const rows = await this.#database.query<{ owner_uid: string; current: number; stale: number }>(
      SETTINGS_CLIENTS,
      [new Date(now.getTime() - CLIENT_LIFETIME_MS)],
    );
    return new Map(rows.map(({ owner_uid, current, stale }) => [owner_uid, { current, stale }]));
  }
}

/** Names as they were asked for, of those that were found as they are kept. */
function asked(names: ReadonlyMap<string, string>, found: ReadonlySet<string>): Set<string> {
  return new Set([...names].filter(([, kept]) => found.has(kept)).map(([name]) => name));
}
