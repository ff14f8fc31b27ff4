import type { WindowState } from '@claude-gateway/prisma';
import { RecentMap } from '../../recent-map.ts';
import type { AppliedCap } from '../types.ts';
import type { BudgetState } from './thresholds.ts';

const MAX_CAPS = 50_000;

/** Which cap a window was charged under: the ledger knows windows alone. */
export class ChargedCaps {
  readonly #caps = new RecentMap<string, AppliedCap>(MAX_CAPS);

  remember(caps: readonly AppliedCap[]): void {
    for (const cap of caps) this.#caps.set(cap.window.id, cap);
  }

  /** States of windows as states of caps; windows that nobody was charged under lately are left out. */
  statesOf(windows: readonly WindowState[]): BudgetState[] {
    const states: BudgetState[] = [];
    for (const { windowId, spent } of windows) {
      const cap = this.#caps.get(windowId);
      if (cap !== undefined) states.push({ cap, spent });
    }
    return states;
  }
}
