import type { IncomingHttpHeaders } from 'node:http';
import type { AdminConfig } from '@claude-gateway/contract';
import type {
  BudgetPeriod,
  EffectiveStore,
  IncreaseRequestStore,
  LedgerStore,
  LimitSet,
  LimitStore,
  SpendLimit,
  UsageStore,
  WindowSpec,
} from '@claude-gateway/prisma';
import type { Router } from 'express';
import type { RequestContext } from '../http/context.ts';
import type { Audit } from '../observe/audit.ts';
import type { Principal } from '../principal.ts';

/** Whom caps are looked up for. */
export interface CapHolder {
  readonly sub: string;
  readonly email?: string;
  readonly groups: readonly string[];
}

/** The limit that decides for one person and one period. */
export interface DecidingLimit {
  /** `amount: null` is unlimited. */
  readonly limit: SpendLimit;
  readonly source: 'user' | 'group' | 'organization';
  /** The period under way; also of an unlimited one. */
  readonly window: WindowSpec;
}

/** Limits of one revision, ready to be asked: with the resolution that enforcement uses. */
export interface CapReader {
  /** The dollar limit per member that decides, unlimited ones included; undefined when there is none. */
  memberLimit(holder: CapHolder, period: BudgetPeriod, at: number): DecidingLimit | undefined;
  /** Every cap that applies: dollars and tokens, own and shared. */
  resolve(
    holder: CapHolder,
    at: number,
  ): readonly (DecidingLimit & {
    /** nano-USD or tokens. */
    readonly amount: bigint;
  })[];
}

/** What the admin API needs of the rest. */
export interface AdminDependencies {
  readonly config: AdminConfig;
  readonly limits: LimitStore;
  readonly effective: EffectiveStore;
  readonly increaseRequests: IncreaseRequestStore;
  readonly ledger: Pick<LedgerStore, 'windows'>;
  /** Whoever asks for more becomes known, with their groups. */
  readonly principals: Pick<UsageStore, 'touch'>;
  /** Resolves when what was written so far is in force on this replica. */
  readonly limitsInForce: () => Promise<void>;
  /** Resolves when everybody whom this replica has seen is known to the store. */
  readonly flushSeen: () => Promise<void>;
  /** As enforcement does it. */
  readonly compileCaps: (limits: LimitSet) => CapReader;
  /** @throws ApiError 401 when the caller is not signed in. */
  readonly authenticate: (
    headers: IncomingHttpHeaders,
    context: RequestContext,
  ) => Principal | Promise<Principal>;
  /** Served under `/v1/organizations/usage` to whoever may read. */
  readonly usage?: Router;
  readonly audit: Audit;
  readonly clock: () => Date;
}
