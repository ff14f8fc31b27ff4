import type { LimitSet, LimitStore } from '@claude-gateway/prisma';
import { RevisionFeed, type RevisionFeedDeps } from '../../revision-feed.ts';
import type { CapSnapshot } from '../types.ts';

export interface LimitFeedDeps extends Pick<
  RevisionFeedDeps<LimitSet, CapSnapshot>,
  'compile' | 'log' | 'audit' | 'pollMs' | 'outdatedAfterMs'
> {
  readonly limits: Pick<LimitStore, 'readAll' | 'revision' | 'onChange'>;
}

/** The limits in force. */
export type LimitFeed = RevisionFeed<LimitSet, CapSnapshot>;

/** See {@link RevisionFeed.start}. */
export function startLimitFeed({ limits, ...deps }: LimitFeedDeps): Promise<LimitFeed> {
  return RevisionFeed.start({
    ...deps,
    rows: limits,
    what: 'limits',
    describe: (set) => ({ limits: set.limits.length }),
  });
}
