import { bytes, type Database } from './database.ts';
import { SCHEMA } from './connection.ts';
import { DuplicateCodeError } from './errors.ts';
import { identityOf, type IdentityRow } from './identity.ts';
import { storable, storableKey } from './storable.ts';
import type {
  DeviceGrant,
  DeviceGrantStore,
  Identity,
  NewDeviceGrant,
  PollResult,
  SignInAttempt,
} from './types.ts';

/** What a poll that came too early adds to the interval (RFC 8628 §3.5). */
const SLOW_DOWN_SECONDS = 5;
/** A device that waits exactly its interval may arrive a little early, by the network and by our replicas' clocks. */
const POLL_TOLERANCE_MS = 1_000;

/**
 * `hit` locks the grant, so polls of one grant run one after the other, each seeing what the last one did; an
 * approved grant is gone when the next one looks.
 */
const POLL = `
  WITH hit AS (
    SELECT id, status, sub, provider, email, name, groups, idp_refresh_token_sealed,
           expires_at <= $2 AS expired,
           status = 'pending' AND last_polled_at + (interval_seconds * 1000 - ${POLL_TOLERANCE_MS}) * interval '1 ms' > $2 AS early
      FROM ${SCHEMA}.device_grants
     WHERE device_code_hash = $1
       FOR UPDATE
  ), handed_out AS (
    DELETE FROM ${SCHEMA}.device_grants g USING hit WHERE g.id = hit.id AND hit.status = 'approved' AND NOT hit.expired
  ), polled AS (
    UPDATE ${SCHEMA}.device_grants g
       SET last_polled_at = $2,
           interval_seconds = g.interval_seconds + CASE WHEN hit.early THEN ${SLOW_DOWN_SECONDS} ELSE 0 END
      FROM hit
     WHERE g.id = hit.id AND hit.status = 'pending' AND NOT hit.expired
  )
  SELECT * FROM hit`;

const TAKE_SIGN_IN = `
  DELETE FROM ${SCHEMA}.sign_in_attempts WHERE state_hash = $1
  RETURNING state_hash, browser_hash, grant_id, provider, secrets_sealed, expires_at`;

interface PollRow extends IdentityRow {
  readonly status: DeviceGrant['status'];
  readonly idp_refresh_token_sealed: Buffer | null;
  readonly expired: boolean;
  readonly early: boolean | null;
}

interface SignInRow {
  readonly state_hash: Buffer;
  readonly browser_hash: Buffer;
  readonly grant_id: string;
  readonly provider: string;
  readonly secrets_sealed: Buffer;
  readonly expires_at: Date;
}

export class PostgresDeviceGrantStore implements DeviceGrantStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  async create(grant: NewDeviceGrant): Promise<void> {
    const { deviceCodeHash, userCodeHash, surface, clientAddress, ...rest } = grant;
    try {
      await this.#database.prisma((prisma) =>
        prisma.deviceGrant.create({
          data: {
            ...rest,
            surface: surface === null ? null : storable(surface),
            clientAddress: storable(clientAddress),
            deviceCodeHash: bytes(deviceCodeHash),
            userCodeHash: bytes(userCodeHash),
          },
          select: { id: true },
        }),
      );
    } catch (error) {
      throw prismaCode(error) === 'P2002' ? new DuplicateCodeError() : error;
    }
  }

  async findByUserCode(userCodeHash: Buffer, now: Date): Promise<DeviceGrant | null> {
    return this.#database.prisma((prisma) =>
      prisma.deviceGrant.findFirst({
        where: { userCodeHash: bytes(userCodeHash), expiresAt: { gt: now } },
        select: {
          id: true,
          status: true,
          surface: true,
          clientAddress: true,
          createdAt: true,
          expiresAt: true,
        },
      }),
    );
  }

  async startSignIn(attempt: SignInAttempt): Promise<void> {
    const { stateHash, browserHash, secretsSealed, grantId, provider, expiresAt } = attempt;
    try {
      await this.#database.prisma((prisma) =>
        prisma.signInAttempt.create({
          data: {
            stateHash: bytes(stateHash),
            browserHash: bytes(browserHash),
            secretsSealed: bytes(secretsSealed),
            grantId,
            provider,
            expiresAt,
          },
          select: { grantId: true },
        }),
      );
    } catch (error) {
      // The grant has expired and gone meanwhile. The browser learns it when it comes back and finds no attempt.
      if (prismaCode(error) !== 'P2003') throw error;
    }
  }

  async takeSignIn(stateHash: Buffer, now: Date): Promise<SignInAttempt | null> {
    const [row] = await this.#database.query<SignInRow>(TAKE_SIGN_IN, [stateHash]);
    if (row === undefined || row.expires_at <= now) return null;
    return {
      stateHash: row.state_hash,
      browserHash: row.browser_hash,
      grantId: row.grant_id,
      provider: row.provider,
      secretsSealed: row.secrets_sealed,
      expiresAt: row.expires_at,
    };
  }

  async approve(
    grantId: string,
    identity: Identity,
    idpRefreshTokenSealed: Buffer | null,
    now: Date,
  ): Promise<boolean> {
    return this.#decide(grantId, now, {
      status: 'approved',
      sub: storableKey(identity.sub),
      provider: identity.provider,
      email: identity.email === null ? null : storable(identity.email),
      name: identity.name === null ? null : storable(identity.name),
      groups: identity.groups.map(storable),
      idpRefreshTokenSealed: idpRefreshTokenSealed && bytes(idpRefreshTokenSealed),
    });
  }

  async deny(grantId: string, now: Date): Promise<boolean> {
    return this.#decide(grantId, now, { status: 'denied' });
  }

  async poll(deviceCodeHash: Buffer, now: Date): Promise<PollResult> {
    const [row] = await this.#database.query<PollRow>(POLL, [deviceCodeHash, now]);
    if (row === undefined || row.expired) return { state: 'expired_token' };
    switch (row.status) {
      case 'denied':
        return { state: 'access_denied' };
      case 'pending':
        return { state: row.early ? 'slow_down' : 'authorization_pending' };
      case 'approved':
        return {
          state: 'approved',
          identity: identityOf(row),
          idpRefreshTokenSealed: row.idp_refresh_token_sealed,
        };
    }
  }

  async #decide(
    grantId: string,
    now: Date,
    decision: {
      status: 'approved' | 'denied';
      sub?: string;
      provider?: string;
      email?: string | null;
      name?: string | null;
      groups?: string[];
      idpRefreshTokenSealed?: Uint8Array<ArrayBuffer> | null;
    },
  ): Promise<boolean> {
    const { count } = await this.#database.prisma((prisma) =>
      prisma.deviceGrant.updateMany({
        where: { id: grantId, status: 'pending', expiresAt: { gt: now } },
        data: { ...decision, decidedAt: now },
      }),
    );
    return count === 1;
  }
}

/** https://www.prisma.io/docs/orm/reference/error-reference: P2002 unique, P2003 foreign key. */
function prismaCode(error: unknown): string | undefined {
  return (error as { code?: string }).code;
}
