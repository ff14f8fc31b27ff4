/** Somebody whose request was seen, as the token of the request said it. */
export interface PrincipalSighting {
  readonly sub: string;
  readonly kind: 'user' | 'workload';
  readonly email: string | null;
  readonly name: string | null;
  readonly groups: readonly string[];
  readonly seenAt: Date;
}

/** By what a report is broken down. */
export type UsageDimension = 'user' | 'group' | 'model' | 'upstream';

/** Only usage of these; each list is an OR, and absent means everybody's. */
export interface UsageFilters {
  /** Subjects, or email addresses in any letter case. */
  readonly users?: readonly string[];
  /** Groups at the time of the request. */
  readonly groups?: readonly string[];
  readonly models?: readonly string[];
  readonly upstreams?: readonly string[];
}

export interface UsageReportQuery {
  /**
   * Ascending moments; each pair of neighbours is one bucket, `[boundaries[n], boundaries[n + 1])` by the moment of
   * admission. At least two.
   */
  readonly boundaries: readonly Date[];
  readonly groupBy: readonly UsageDimension[];
  readonly filters?: UsageFilters;
}

/** Sums of one bucket and one combination of the dimensions; those that were not asked for are null. */
export interface UsageReportRow {
  /** Index of the bucket's beginning in `boundaries`. */
  readonly bucket: number;
  readonly user: UsageUser | null;
  /**
   * A request counts for every group of its user: sums over groups may exceed the total. Empty for people without
   * groups.
   */
  readonly group: string | null;
  readonly model: string | null;
  /** Empty for requests that no upstream answered. */
  readonly upstream: string | null;
  readonly requests: bigint;
  /** Neither read from a cache nor written to one. */
  readonly inputTokens: bigint;
  readonly outputTokens: bigint;
  readonly cacheReadTokens: bigint;
  readonly cacheWrite5mTokens: bigint;
  readonly cacheWrite1hTokens: bigint;
  readonly webSearches: bigint;
  readonly costNanoUsd: bigint;
}

export interface UsageUser {
  readonly sub: string;
  /** Null, as the others, when the principal is forgotten or never had one. */
  readonly email: string | null;
  readonly name: string | null;
  readonly kind: 'user' | 'workload' | null;
}

/**
 * What becomes of usage records: sums for reports, exact at any moment, whether the hours have been added up already or
 * not. All throw StoreUnavailableError when PostgreSQL does not answer.
 */
export interface UsageStore {
  /** Remembers who was seen, and when first and last. Of several sightings of somebody the latest counts. */
  touch(sightings: readonly PrincipalSighting[]): Promise<void>;
  /**
   * What somebody has spent since each of these moments, in nano-USD, by the moment of admission.
   *
   * @throws UsageTooOldError
   */
  spendSince(sub: string, sinces: readonly Date[]): Promise<bigint[]>;
  /**
   * Sums of usage, by bucket and then by dimension in the order of `groupBy`. All rows of one call are of one moment.
   * Within a replica one report runs at a time.
   *
   * @throws UsageTooOldError
   */
  report(query: UsageReportQuery): Promise<readonly UsageReportRow[]>;
  /**
   * Adds up what was settled since the last time. The store does so by itself every few minutes; this is for who
   * cannot wait.
   *
   * @returns false when another replica was at it, or a settlement took too long; nothing is lost by that.
   */
  rollUp(): Promise<boolean>;
}

/** How long what is remembered, see {@link StoreOptions.retention}. */
export interface Retention {
  /** Hourly sums, budget windows and alerts, in months. Default 13; what a window may still need is kept in any case. */
  readonly spendMonths: number;
  /** The trail of changes, and requests for higher limits, in days. Default 365. */
  readonly auditDays: number;
  /** Names, emails and groups of people who were last seen then, in days. Default 90. */
  readonly identityDays: number;
}
