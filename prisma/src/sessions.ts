import { SCHEMA } from './connection.ts';
import type { Database } from './database.ts';
import { emailKey, identityOf, type IdentityRow } from './identity.ts';
import { REVOCATION_CHANNEL, type PostgresRevocationFeed } from './revocation-feed.ts';
import { storable, storableKey } from './storable.ts';
import type { Identity, RefreshClaim, Session, SessionStore, TokenUser } from './types.ts';

const REUSED = 'refresh_token_reused';

const CREATE = `
  INSERT INTO ${SCHEMA}.sessions
    (id, sub, provider, email, email_key, name, groups, refresh_token_hash, idp_refresh_token_sealed, created_at, refreshed_at,
     used_from, used_by)
  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10, $11, $12)`;

/**
 * What every revocation does, given a query `target` of session ids: end the live ones, forget the identity
 * provider's token, remember them until their bearer tokens have expired, and tell all replicas.
 * Parameters: $1 now, $2 reason, $3 until when to remember.
 */
const REVOKE_TARGET = `
  revoked AS (
    UPDATE ${SCHEMA}.sessions s SET revoked_at = $1, revoke_reason = $2, idp_refresh_token_sealed = NULL
      FROM target WHERE s.id = target.id AND s.revoked_at IS NULL
    RETURNING s.id
  ), recorded AS (
    INSERT INTO ${SCHEMA}.revocations (session_id, expires_at, reason) SELECT id, $3::timestamptz, $2 FROM revoked
    ON CONFLICT (session_id) DO NOTHING
  ), told AS (
    SELECT id, pg_notify('${REVOCATION_CHANNEL}', id || ' ' || extract(epoch FROM $3::timestamptz)::bigint || ' ' || $2)
      FROM revoked
  )`;

/** A session that we have no row of (a workload's token) is remembered as revoked all the same. */
const REVOKE_ONE = `
  WITH target AS (SELECT $4::uuid AS id), ${REVOKE_TARGET}, strangers AS (
    INSERT INTO ${SCHEMA}.revocations (session_id, expires_at, reason)
    SELECT id, $3::timestamptz, $2 FROM target WHERE NOT EXISTS (SELECT FROM ${SCHEMA}.sessions s WHERE s.id = target.id)
    ON CONFLICT (session_id) DO NOTHING
    RETURNING session_id
  ), strangers_told AS (
    SELECT pg_notify('${REVOCATION_CHANNEL}', session_id || ' ' || extract(epoch FROM $3::timestamptz)::bigint || ' ' || $2)
      FROM strangers
  )
  SELECT (SELECT count(*) FROM told)::int AS live, (SELECT count(*) FROM strangers_told)`;

/** $4 is the hash of any refresh token that the session has or had. */
const SESSION_OF_TOKEN = `
  SELECT id, NULL::timestamptz AS replaced_at FROM ${SCHEMA}.sessions WHERE refresh_token_hash = $4
  UNION ALL
  SELECT session_id, replaced_at FROM ${SCHEMA}.replaced_refresh_tokens WHERE token_hash = $4`;

const REVOKE_BY_TOKEN = `
  WITH target AS (${SESSION_OF_TOKEN}), ${REVOKE_TARGET}
  SELECT target.id, (SELECT count(*) FROM told) FROM target`;

const REVOKE_BY_USER = (column: 'sub' | 'email_key'): string => `
  WITH target AS (SELECT id FROM ${SCHEMA}.sessions WHERE ${column} = $4 AND revoked_at IS NULL), ${REVOKE_TARGET}
  SELECT id FROM told`;

/**
 * The conditions on the row that `claimed` updates are checked again after waiting for a concurrent statement, so one
 * caller alone gets it, and what the others read meanwhile (`busy`) is no more than a moment old. What the winner
 * reads is true: a session's data changes only together with its newest token, or when it is revoked.
 * $5 grace and $6 lease in ms, $7 network and $8 program of the caller.
 *
 * A replaced token is stolen when both its network and its program are others than those which refreshed the session
 * since: a laptop moves between networks, and a credential store is shared by programs of one maker, but the two do
 * not change at once. Whichever of thief and owner comes back with a replaced token gives the theft away.
 */
const CLAIM = `
  WITH found AS (${SESSION_OF_TOKEN}), claimed AS (
    UPDATE ${SCHEMA}.sessions s SET refresh_claimed_until = $1::timestamptz + $6 * interval '1 ms'
      FROM found
     WHERE s.id = found.id AND s.refresh_token_hash = $4 AND s.revoked_at IS NULL
       AND (s.refresh_claimed_until IS NULL OR s.refresh_claimed_until <= $1)
    RETURNING s.id
  ), target AS (
    SELECT found.id FROM found JOIN ${SCHEMA}.sessions s ON s.id = found.id
     WHERE found.replaced_at IS NOT NULL
       AND ((s.used_from <> $7 AND s.used_by <> $8) OR EXISTS (
         SELECT FROM ${SCHEMA}.replaced_refresh_tokens r
          WHERE r.session_id = found.id AND r.replaced_at >= found.replaced_at AND r.used_from <> $7 AND r.used_by <> $8))
  ), ${REVOKE_TARGET}
  SELECT s.id, s.sub, s.provider, s.email, s.name, s.groups, s.created_at, s.refreshed_at, s.revoked_at,
         s.refresh_token_hash, s.idp_refresh_token_sealed,
         found.replaced_at IS NULL AS newest,
         found.replaced_at < $1::timestamptz - $5 * interval '1 ms' AS stale,
         EXISTS (SELECT FROM claimed) AS claimed,
         EXISTS (SELECT FROM target) AS reused,
         (SELECT count(*) FROM told) > 0 AS revoked_now
    FROM found JOIN ${SCHEMA}.sessions s ON s.id = found.id`;

const RELEASE = `UPDATE ${SCHEMA}.sessions SET refresh_claimed_until = NULL WHERE id = $1`;

const ROTATE = `
  WITH session AS (
    UPDATE ${SCHEMA}.sessions s
       SET sub = $5, provider = $6, email = $7, email_key = $8, name = $9, groups = $10,
           refresh_token_hash = $3, refresh_claimed_until = NULL, idp_refresh_token_sealed = $11, refreshed_at = $4,
           used_from = $12, used_by = $13
     WHERE s.id = $1 AND s.refresh_token_hash = $2 AND s.revoked_at IS NULL
    RETURNING s.id
  )
  INSERT INTO ${SCHEMA}.replaced_refresh_tokens (token_hash, session_id, replaced_at, used_from, used_by)
  SELECT $2, id, $4, $12, $13 FROM session`;

const IS_NEWEST = `SELECT FROM ${SCHEMA}.sessions WHERE id = $1 AND refresh_token_hash = $2 AND revoked_at IS NULL`;

interface ClaimRow extends SessionRow {
  readonly refresh_token_hash: Buffer;
  readonly newest: boolean;
  readonly stale: boolean | null;
  readonly claimed: boolean;
  readonly reused: boolean;
  readonly revoked_now: boolean;
}

interface SessionRow extends IdentityRow {
  readonly id: string;
  readonly created_at: Date;
  readonly refreshed_at: Date;
  readonly revoked_at: Date | null;
  readonly idp_refresh_token_sealed: Buffer | null;
}

export class PostgresSessionStore implements SessionStore {
  readonly #database: Database;
  readonly #feed: PostgresRevocationFeed;
  readonly #revocationTtlMs: number;

  constructor(database: Database, feed: PostgresRevocationFeed, revocationTtlSeconds: number) {
    this.#database = database;
    this.#feed = feed;
    this.#revocationTtlMs = revocationTtlSeconds * 1000;
  }

  async create(session: Parameters<SessionStore['create']>[0]): Promise<void> {
    const { id, identity, refreshTokenHash, idpRefreshTokenSealed, now, by } = session;
    const token = [refreshTokenHash, idpRefreshTokenSealed, now];
    const values = [id, ...identityValues(identity), ...token, by?.network ?? null, programOf(by)];
    await this.#database.execute(CREATE, values);
  }

  async claimRefresh(
    tokenHash: Buffer,
    { now, graceMs, leaseMs, by }: Parameters<SessionStore['claimRefresh']>[1],
  ): Promise<RefreshClaim> {
    const expiresAt = this.#expiryOf(now);
    const values = [now, REUSED, expiresAt, tokenHash, graceMs, leaseMs, by?.network ?? null, programOf(by)];
    const [row] = await this.#database.query<ClaimRow>(CLAIM, values);
    if (row === undefined) return { state: 'unknown' };
    const session = sessionOf(row);
    if (session.revokedAt !== null) return { state: 'revoked', session };
    if (row.claimed) return { state: 'claimed', session };
    if (row.newest) return { state: 'busy', session };
    if (!row.reused) {
      return { state: row.stale ? 'stale' : 'superseded', session, currentTokenHash: row.refresh_token_hash };
    }
    if (row.revoked_now) this.#feed.add(session.id, expiresAt, REUSED);
    return { state: 'reused', session: { ...session, revokedAt: now, idpRefreshTokenSealed: null } };
  }

  async releaseRefresh(sessionId: string): Promise<void> {
    await this.#database.execute(RELEASE, [sessionId]);
  }

  async rotate(sessionId: string, rotation: Parameters<SessionStore['rotate']>[1]): Promise<boolean> {
    const { usedTokenHash, newTokenHash, identity, idpRefreshTokenSealed, now, by } = rotation;
    const tokens = [sessionId, usedTokenHash, newTokenHash, now];
    const used = [by?.network ?? null, programOf(by)];
    const values = [...tokens, ...identityValues(identity), idpRefreshTokenSealed, ...used];
    if ((await this.#database.execute(ROTATE, values)) === 1) return true;
    return (await this.#database.execute(IS_NEWEST, [sessionId, newTokenHash])) === 1;
  }

  async revoke(sessionId: string, reason: string, now: Date): Promise<boolean> {
    const expiresAt = this.#expiryOf(now);
    const [row] = await this.#database.query<{ live: number }>(REVOKE_ONE, [
      now,
      reason,
      expiresAt,
      sessionId,
    ]);
    this.#feed.add(sessionId, expiresAt, reason);
    return row?.live === 1;
  }

  async revokeByRefreshToken(tokenHash: Buffer, reason: string, now: Date): Promise<string | null> {
    const expiresAt = this.#expiryOf(now);
    const [row] = await this.#database.query<{ id: string }>(REVOKE_BY_TOKEN, [
      now,
      reason,
      expiresAt,
      tokenHash,
    ]);
    if (row === undefined) return null;
    this.#feed.add(row.id, expiresAt, reason);
    return row.id;
  }

  async revokeByUser(
    user: { sub: string } | { email: string },
    reason: string,
    now: Date,
  ): Promise<string[]> {
    const expiresAt = this.#expiryOf(now);
    const [statement, value] =
      'sub' in user
        ? [REVOKE_BY_USER('sub'), storableKey(user.sub)]
        : [REVOKE_BY_USER('email_key'), storableKey(emailKey(user.email))];
    const rows = await this.#database.query<{ id: string }>(statement, [now, reason, expiresAt, value]);
    for (const { id } of rows) this.#feed.add(id, expiresAt, reason);
    return rows.map(({ id }) => id);
  }

  async list({ email, sub, limit }: Parameters<SessionStore['list']>[0]): Promise<Session[]> {
    const rows = await this.#database.prisma((prisma) =>
      prisma.session.findMany({
        where: {
          ...(sub !== undefined && { sub: storableKey(sub) }),
          ...(email !== undefined && { emailKey: storableKey(emailKey(email)) }),
        },
        orderBy: [{ refreshedAt: 'desc' }, { id: 'asc' }],
        take: limit,
      }),
    );
    return rows.map((row) => ({
      id: row.id,
      identity: identityOf(row),
      createdAt: row.createdAt,
      refreshedAt: row.refreshedAt,
      revokedAt: row.revokedAt,
      idpRefreshTokenSealed: row.idpRefreshTokenSealed && Buffer.from(row.idpRefreshTokenSealed),
    }));
  }

  /** No bearer token that was minted before `now` lives longer. */
  #expiryOf(now: Date): Date {
    return new Date(now.getTime() + this.#revocationTtlMs);
  }
}

function programOf(by: TokenUser | undefined): string | null {
  return by === undefined ? null : storable(by.program);
}

/** In the order of the columns in CREATE and ROTATE. */
function identityValues({ sub, provider, email, name, groups }: Identity): unknown[] {
  const key = emailKey(email === null ? null : storable(email));
  return [
    storableKey(sub),
    provider,
    email === null ? null : storable(email),
    key === null ? null : storableKey(key),
    name === null ? null : storable(name),
    groups.map(storable),
  ];
}

function sessionOf(row: SessionRow): Session {
  return {
    id: row.id,
    identity: identityOf(row),
    createdAt: row.created_at,
    refreshedAt: row.refreshed_at,
    revokedAt: row.revoked_at,
    idpRefreshTokenSealed: row.idp_refresh_token_sealed,
  };
}
