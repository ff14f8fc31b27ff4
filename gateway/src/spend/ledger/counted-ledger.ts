import type { UsageRecord } from '@claude-gateway/prisma';
import type { HoldResult, Ledger, WaitResult } from '../types.ts';

/** Told of what passes the ledger. Called on the request path: quick, and never throws. */
export interface LedgerCounts {
  /** @param result `unheld`: admitted without a hold, while PostgreSQL is away. */
  held(result: HoldResult['state'] | 'unheld'): void;
  /** @param result How the wait for what other requests hold ended. @param ms How long it was. */
  waited(result: WaitEnd, ms: number): void;
  settled(record: UsageRecord): void;
  released(): void;
}

/** A wait for what other requests hold, by its end; see {@link WaitResult}. */
export type WaitEnd = Exclude<WaitResult['state'], 'busy'> | Extract<WaitResult, { state: 'busy' }>['cause'];

/** The same ledger, counted. */
export function countedLedger(ledger: Ledger, counts: LedgerCounts): Ledger {
  const count = (result: HoldResult): HoldResult => {
    counts.held(result.state);
    return result;
  };
  return {
    hold(id, needs) {
      const result = ledger.hold(id, needs);
      return result instanceof Promise ? result.then(count) : count(result);
    },
    async wait(id, choices, patience) {
      const since = performance.now();
      const result = await ledger.wait(id, choices, patience);
      counts.waited(result.state === 'busy' ? result.cause : result.state, performance.now() - since);
      return result;
    },
    admitUnheld(id, needs) {
      counts.held('unheld');
      return ledger.admitUnheld(id, needs);
    },
    note: (hold, floor) => ledger.note(hold, floor),
    settle(hold, record, windowIds) {
      counts.settled(record);
      ledger.settle(hold, record, windowIds);
    },
    release(hold) {
      counts.released();
      ledger.release(hold);
    },
    peek: (windowId) => ledger.peek(windowId),
  };
}
