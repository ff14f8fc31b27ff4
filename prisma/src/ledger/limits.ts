import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import { SCHEMA } from '../connection.ts';
import type { Database } from '../database.ts';
import type { Notifications } from '../notifications.ts';
import { replaceOwned } from '../operator/replace-owned.ts';
import {
  COLUMNS,
  INSERT,
  keyValues,
  limitOf,
  ownerValues,
  SAME_KEY,
  settingValues,
  UPDATE,
  type LimitRow,
} from './limit-rows.ts';
import { ACTION_PREFIX, limitChange, writeTrail } from './limit-trail.ts';
import type {
  LimitChange,
  LimitContent,
  LimitDelete,
  LimitOwner,
  LimitSet,
  LimitStore,
  LimitWrite,
  SpendLimit,
} from './limit-types.ts';
import { versionOf } from './limit-version.ts';
import { sequenceOf } from './sequence.ts';
import { bumpRevision, lockRevision, onPolicyChange, readRevision, REVISION } from './policy-revision.ts';

/** One row for each limit, or one without a limit: revision and limits are of one moment. */
const READ_ALL = `
  SELECT ${REVISION} AS revision, l.*
    FROM (SELECT) one LEFT JOIN (SELECT ${COLUMNS}, sequence FROM ${SCHEMA}.spend_limits) l ON true
   ORDER BY l.sequence`;

/** A custom resource's limit before one made here. */
const FIND = `
  SELECT ${COLUMNS} FROM ${SCHEMA}.spend_limits WHERE ${SAME_KEY} ORDER BY owner_uid DESC LIMIT 1`;

const GET = `SELECT ${COLUMNS} FROM ${SCHEMA}.spend_limits WHERE id = $1`;

const DELETE = `DELETE FROM ${SCHEMA}.spend_limits WHERE id = $1`;

/** Parameters: $2 the limit that the page begins after or ends before. */
const page = (direction: 'after' | 'before'): string => `
  SELECT ${COLUMNS} FROM ${SCHEMA}.spend_limits
   WHERE $2::text IS NULL
      OR sequence ${direction === 'after' ? '>' : '<'} (SELECT sequence FROM ${SCHEMA}.spend_limits WHERE id = $2)
   ORDER BY sequence ${direction === 'after' ? 'ASC' : 'DESC'} LIMIT $1`;

interface Change {
  readonly actor: string;
  readonly reason: string | null;
  readonly now: Date;
}

export class PostgresLimitStore implements LimitStore {
  readonly #database: Database;
  readonly #feed: Database;
  readonly #notifications: Pick<Notifications, 'listen'>;

  /** @param feed For those who keep the limits current, whatever is asked of the admin API meanwhile. */
  constructor(database: Database, feed: Database, notifications: Pick<Notifications, 'listen'>) {
    this.#database = database;
    this.#feed = feed;
    this.#notifications = notifications;
  }

  async readAll(): Promise<LimitSet> {
    const rows = await this.#feed.query<{ revision: string } & (LimitRow | { id: null })>(READ_ALL);
    const limits = rows.filter((row): row is { revision: string } & LimitRow => row.id !== null).map(limitOf);
    return { revision: BigInt(rows[0]?.revision ?? 0), limits };
  }

  revision(): Promise<bigint> {
    return readRevision(this.#feed);
  }

  onChange(listener: () => void): () => void {
    return onPolicyChange(this.#notifications, listener);
  }

  async list({
    limit,
    afterId,
    beforeId,
  }: Parameters<LimitStore['list']>[0]): ReturnType<LimitStore['list']> {
    const direction = beforeId === undefined ? 'after' : 'before';
    const rows = await this.#database.query<LimitRow>(page(direction), [
      limit + 1,
      beforeId ?? afterId ?? null,
    ]);
    const limits = rows.slice(0, limit).map(limitOf);
    return { limits: direction === 'after' ? limits : limits.reverse(), hasMore: rows.length > limit };
  }

  async get(id: string): Promise<SpendLimit | null> {
    const [row] = await this.#database.query<LimitRow>(GET, [id]);
    return row === undefined ? null : limitOf(row);
  }

  put(content: LimitContent, change: Parameters<LimitStore['put']>[1]): Promise<LimitWrite> {
    return this.#database.transaction((client) => this.putWithin(client, content, change));
  }

  /** {@link put} inside somebody else's transaction: what was changed is in force when that commits. */
  async putWithin(
    client: pg.PoolClient,
    content: LimitContent,
    change: Parameters<LimitStore['put']>[1],
  ): Promise<LimitWrite> {
    await lockRevision(client, change.now);
    const row = (await client.query<LimitRow>(FIND, keyValues(content) as string[])).rows[0];
    const existing = row === undefined ? null : limitOf(row);
    if (existing !== null && existing.owner !== null) return { state: 'owned', limit: existing };
    if (!isAsDemanded(existing, change.ifMatch) || (change.ifNoneMatch === true && existing !== null)) {
      return { state: 'conflict', limit: existing };
    }
    const limit = await write(client, existing, content, { owner: null, policyName: null, ...change });
    await bumpRevision(client, change.now);
    return { state: 'written', limit, created: existing === null };
  }

  delete(id: string, change: Parameters<LimitStore['delete']>[1]): Promise<LimitDelete> {
    return this.#database.transaction(async (client) => {
      await lockRevision(client, change.now);
      const row = (await client.query<LimitRow>(GET, [id])).rows[0];
      if (row === undefined) return { state: 'missing' };
      const limit = limitOf(row);
      if (limit.owner !== null) return { state: 'owned', limit };
      if (!isAsDemanded(limit, change.ifMatch)) return { state: 'conflict', limit };
      await remove(client, limit, change);
      await bumpRevision(client, change.now);
      return { state: 'deleted', limit };
    });
  }

  async replaceOwned(
    owner: LimitOwner,
    policyName: string,
    contents: readonly LimitContent[],
    now: Date,
  ): Promise<bigint> {
    const rows = { owner, policyName, limits: contents };
    return (await replaceOwned(this.#database, [rows], now)).revision;
  }

  async changes({ limit, before }: Parameters<LimitStore['changes']>[0]): ReturnType<LimitStore['changes']> {
    const rows = await this.#database.prisma((prisma) =>
      prisma.adminAudit.findMany({
        where: {
          action: { startsWith: ACTION_PREFIX },
          ...(before !== undefined && { sequence: { lt: sequenceOf(before) } }),
        },
        orderBy: { sequence: 'desc' },
        take: limit + 1,
      }),
    );
    const changes = rows.slice(0, limit).map((row): LimitChange => ({
      id: row.sequence.toString(),
      at: row.recordedAt,
      actor: row.actor,
      action: row.action.slice(ACTION_PREFIX.length) as LimitChange['action'],
      limitId: row.targetId,
      before: row.before,
      after: row.after,
      reason: row.reason,
    }));
    return { changes, hasMore: rows.length > limit };
  }
}

async function write(
  client: pg.PoolClient,
  before: SpendLimit | null,
  content: LimitContent,
  change: Change & { readonly owner: LimitOwner | null; readonly policyName: string | null },
): Promise<SpendLimit> {
  const { owner, policyName, now } = change;
  const values = [...settingValues(content), ...ownerValues(owner, policyName)];
  const { rows } = await client.query<LimitRow>(
    before === null ? INSERT : UPDATE,
    before === null
      ? [...keyValues(content), ...values, `spl_${randomUUID().replaceAll('-', '')}`, now]
      : [...values, before.id, now],
  );
  const row = rows[0];
  if (row === undefined) throw new Error('a limit that was just written is not there');
  const after = limitOf(row);
  await writeTrail(client, [limitChange({ ...change, before, after })], now);
  return after;
}

async function remove(client: pg.PoolClient, limit: SpendLimit, change: Change): Promise<void> {
  await client.query(DELETE, [limit.id]);
  await writeTrail(client, [limitChange({ ...change, before: limit, after: null })], change.now);
}

function isAsDemanded(limit: SpendLimit | null, ifMatch: string | undefined): boolean {
  if (ifMatch === undefined) return true;
  return limit !== null && (ifMatch === '*' || ifMatch === versionOf(limit));
}
