/**
 * What the gateway and the operator ask of the store. Implementations live beside this file and are the only
 * code that speaks SQL. Every `*Hash` is a SHA-256 digest of a secret that the store never sees; everything
 * `*Sealed` is ciphertext that the store cannot read. Times are `Date`s of the caller's clock.
 */

import type { AnswerBudget } from './connect/answer-budget.ts';
import type { Resolve } from './connect/checked-lookup.ts';
import type { EffectiveStore } from './ledger/effective-types.ts';
import type { IncreaseRequestStore } from './ledger/increase-request-types.ts';
import type { AlertStore } from './ledger/alert-types.ts';
import type { LimitStore } from './ledger/limit-types.ts';
import type { LedgerStore } from './ledger/types.ts';
import type { Retention, UsageStore } from './ledger/usage-types.ts';
import type { ManagedPolicyStore, SettingsClientStore } from './managed/types.ts';
import type { OperatorPolicyStore } from './operator/types.ts';

/** Who signed in, as the identity provider said it. */
export interface Identity {
  readonly sub: string;
  readonly provider: string;
  readonly email: string | null;
  readonly name: string | null;
  readonly groups: readonly string[];
}

export interface NewDeviceGrant {
  readonly deviceCodeHash: Buffer;
  readonly userCodeHash: Buffer;
  /** What the device says it is (`surface`), for attribution only. */
  readonly surface: string | null;
  /** Empty: it is not known whether the address that was seen is the device's or a proxy's. */
  readonly clientAddress: string;
  readonly createdAt: Date;
  readonly expiresAt: Date;
  readonly intervalSeconds: number;
}

export interface DeviceGrant {
  readonly id: string;
  readonly status: 'pending' | 'approved' | 'denied';
  /** What the device said it is, and where it asked from: shown to the person who is about to approve it. */
  readonly surface: string | null;
  readonly clientAddress: string;
  readonly createdAt: Date;
  readonly expiresAt: Date;
}

/** One browser's way to the identity provider and back; single use, bound to the browser by a cookie. */
export interface SignInAttempt {
  readonly stateHash: Buffer;
  readonly browserHash: Buffer;
  readonly grantId: string;
  readonly provider: string;
  /** nonce and PKCE verifier, sealed. */
  readonly secretsSealed: Buffer;
  readonly expiresAt: Date;
}

export type PollResult =
  | { readonly state: 'authorization_pending' | 'slow_down' | 'access_denied' | 'expired_token' }
  | {
      readonly state: 'approved';
      readonly identity: Identity;
      readonly idpRefreshTokenSealed: Buffer | null;
    };

export interface DeviceGrantStore {
  create(grant: NewDeviceGrant): Promise<void>;
  /** The live (unexpired) grant of this user code, whatever its status. */
  findByUserCode(userCodeHash: Buffer, now: Date): Promise<DeviceGrant | null>;
  startSignIn(attempt: SignInAttempt): Promise<void>;
  /** Takes the attempt out, once: a second call with the same state finds nothing. */
  takeSignIn(stateHash: Buffer, now: Date): Promise<SignInAttempt | null>;
  /** @returns false when the grant is no longer pending. */
  approve(
    grantId: string,
    identity: Identity,
    idpRefreshTokenSealed: Buffer | null,
    now: Date,
  ): Promise<boolean>;
  /** @returns false when the grant is no longer pending. */
  deny(grantId: string, now: Date): Promise<boolean>;
  /**
   * One poll of a device: atomic, so that an approved grant is handed out exactly once over all replicas.
   * Polling before the interval has passed answers `slow_down` and adds 5 s to it (RFC 8628 §3.5).
   * An unknown code answers `expired_token`.
   */
  poll(deviceCodeHash: Buffer, now: Date): Promise<PollResult>;
}

export interface Session {
  /** `sid` claim: a UUID. */
  readonly id: string;
  readonly identity: Identity;
  readonly createdAt: Date;
  readonly refreshedAt: Date;
  readonly idpRefreshTokenSealed: Buffer | null;
  readonly revokedAt: Date | null;
}

/** What became of a refresh token that was presented. */
export type RefreshClaim =
  | { readonly state: 'unknown' }
  /** The newest token, and nobody else is using it: this caller alone asks the identity provider, then rotates. */
  | { readonly state: 'claimed'; readonly session: Session }
  /** The newest token, and another caller (any replica) holds the claim: ask again in a moment. */
  | { readonly state: 'busy'; readonly session: Session }
  /** An earlier token that was replaced within the grace period: processes share it, or an answer was lost. */
  | { readonly state: 'superseded'; readonly session: Session; readonly currentTokenHash: Buffer }
  /** An earlier token that was replaced longer ago. The session lives on. */
  | { readonly state: 'stale'; readonly session: Session }
  /** An earlier token came back from somewhere else: the session has been revoked by this very call. */
  | { readonly state: 'reused'; readonly session: Session }
  | { readonly state: 'revoked'; readonly session: Session };

/** Who uses a refresh token, as far as that can be seen. */
export interface TokenUser {
  /** The network of the client's address. */
  readonly network: string;
  /** The name of the client program. */
  readonly program: string;
}

export interface SessionStore {
  create(session: {
    id: string;
    identity: Identity;
    refreshTokenHash: Buffer | null;
    idpRefreshTokenSealed: Buffer | null;
    now: Date;
    by?: TokenUser;
  }): Promise<void>;
  /**
   * Looks a refresh token up and, when it is the newest of its session, claims the right to use it: one statement,
   * no lock held afterwards. The claim ends with `rotate`, with `releaseRefresh`, or `leaseMs` after `now` should the
   * caller die, so that the identity provider sees one refresh of a session at a time, whichever replicas are asked.
   * A replaced token revokes its session in the same statement when both the network and the program of `by` are
   * others than those that refreshed the session since.
   */
  claimRefresh(
    tokenHash: Buffer,
    claim: { now: Date; graceMs: number; leaseMs: number; by?: TokenUser },
  ): Promise<RefreshClaim>;
  /** Gives a claim back unused: the identity provider could not be asked. */
  releaseRefresh(sessionId: string): Promise<void>;
  /**
   * Stores the successor token and what the identity provider said this time, and ends the claim. Doing it again with
   * the same `newTokenHash` changes nothing and answers true, so a caller that lost the answer may repeat it.
   *
   * @returns false when the session was revoked meanwhile, or `usedTokenHash` is not its newest token.
   */
  rotate(
    sessionId: string,
    rotation: {
      usedTokenHash: Buffer;
      newTokenHash: Buffer;
      identity: Identity;
      idpRefreshTokenSealed: Buffer | null;
      now: Date;
      by?: TokenUser;
    },
  ): Promise<boolean>;
  /** Revokes one session, and tells every replica. Idempotent. @returns whether it was live. */
  revoke(sessionId: string, reason: string, now: Date): Promise<boolean>;
  revokeByRefreshToken(tokenHash: Buffer, reason: string, now: Date): Promise<string | null>;
  /** Revokes every live session of a person, named by `sub` or by email. @returns the revoked session ids. */
  revokeByUser(user: { sub: string } | { email: string }, reason: string, now: Date): Promise<string[]>;
  list(filter: { email?: string; sub?: string; limit: number }): Promise<Session[]>;
}

/** Session ids that were revoked and whose bearer tokens may still be unexpired. */
export interface RevocationFeed {
  /** Synchronous and allocation-free: asked on every request. */
  isRevoked(sessionId: string): boolean;
  /** Why: what `revoke` was given. Undefined when it is not revoked, or a previous version revoked it. */
  reasonOf(sessionId: string): string | undefined;
  /** Whether the feed has been current within the last few seconds (false while Postgres is away). */
  readonly current: boolean;
}

export interface RateLimitStore {
  /** Counts one event in a fixed window shared by all replicas. */
  hit(
    key: string,
    limit: { max: number; windowSeconds: number },
    now: Date,
  ): Promise<{ allowed: boolean; retryAfterSeconds: number }>;
  /** Whether another event would be counted in the window of this moment. Counts nothing. */
  peek(
    key: string,
    limit: { max: number; windowSeconds: number },
    now: Date,
  ): Promise<{ allowed: boolean; retryAfterSeconds: number }>;
}

export interface Store {
  readonly deviceGrants: DeviceGrantStore;
  readonly sessions: SessionStore;
  readonly revocations: RevocationFeed;
  readonly rateLimits: RateLimitStore;
  readonly limits: LimitStore;
  readonly effective: EffectiveStore;
  readonly increaseRequests: IncreaseRequestStore;
  /** Over connections that nobody else uses. */
  readonly ledger: LedgerStore;
  /** The same windows for those who look at them or show them, over the connections of the APIs. */
  readonly windows: Pick<LedgerStore, 'windows' | 'openWindows'>;
  readonly usage: UsageStore;
  readonly alerts: AlertStore;
  readonly managedPolicies: ManagedPolicyStore;
  readonly settingsClients: SettingsClientStore;
  readonly policies: OperatorPolicyStore;
  /** @throws Error when Postgres does not answer. */
  ping(): Promise<void>;
  /** Repeats what a start needs of the database, for as long as a start may take. @throws what it throws in the end. */
  duringStart<T>(work: () => Promise<T>): Promise<T>;
  /**
   * Takes over who we connect as, for every connection from now on: a password that has changed.
   *
   * @returns false when the URL names another database: nothing is taken over then.
   * @throws Error when it is no URL of PostgreSQL.
   */
  renewCredentials(credentials: Pick<StoreOptions, 'url' | 'username' | 'password'>): boolean;
  close(): Promise<void>;
}

export interface StoreOptions {
  /** `postgres://` or `postgresql://`. */
  readonly url: string;
  /** Override what the URL says. */
  readonly username?: string;
  readonly password?: string;
  /** For everything together; a gateway keeps at least three. */
  readonly maxConnections: number;
  /** How long one attempt to connect may take at the start, in seconds. */
  readonly connectTimeoutSeconds: number;
  /** For how long the start tries, in seconds, and one time at least. Default: `connectTimeoutSeconds`. */
  readonly startTimeoutSeconds?: number;
  /** How long a revoked session id must be remembered: the lifetime of a bearer token, in seconds. */
  readonly revocationTtlSeconds: number;
  readonly retention?: Partial<Retention>;
  /** Where a process talks to servers that may be anybody's: what their answers may take together. Absent: no bound. */
  readonly answers?: AnswerBudget;
  /** How the host is looked up; the system's resolver unless a test brings its own. */
  readonly resolve?: Resolve;
  /**
   * `operator` takes part in nothing that replicas do: it migrates, reads and writes, and neither listens, nor keeps
   * revocations in memory, nor sweeps, nor adds usage up. Its connections go when they are idle. Default `gateway`.
   */
  readonly role?: 'gateway' | 'operator';
  readonly onEvent?: (
    level: 'info' | 'warn' | 'error',
    message: string,
    fields?: Record<string, unknown>,
  ) => void;
}
