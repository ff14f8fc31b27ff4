import { describe, expect, it } from '@jest/globals';
import { createLog } from '../../observe/log.ts';
import { Liveness } from './liveness.ts';

/** Heartbeats that PostgreSQL answers when it is told to. */
function start() {
  const reported: bigint[] = [];
  const answers: (() => void)[] = [];
  const state = { revision: 0n, held: false };
  const liveness = new Liveness({
    store: {
      heartbeat: async ({ policyRevision }) => {
        reported.push(policyRevision);
        if (state.held) await new Promise<void>((answer) => answers.push(answer));
        return true;
      },
      sweep: async () => [],
    },
    replicaId: 'replica',
    name: 'pod',
    ttlMs: 1_000_000,
    policyRevision: () => state.revision,
    takeUnnoted: () => [],
    giveBack: () => undefined,
    onWrittenOff: () => undefined,
    isUnavailable: () => true,
    log: createLog('silent', { write: () => undefined }),
    now: () => performance.now(),
  });
  return { liveness, reported, state, answer: () => answers.shift()?.() };
}

describe('reporting the policy revision', () => {
  it('is done at once, and not when PostgreSQL knows it', async () => {
    const { liveness, reported, state } = start();
    await liveness.start();
    expect(reported).toEqual([0n]);
    await liveness.report();
    expect(reported).toEqual([0n]);
    state.revision = 1n;
    await Promise.all([liveness.report(), liveness.report()]);
    expect(reported).toEqual([0n, 1n]);
    await liveness.close();
  });

  it('does not stop at a heartbeat under way, which carries the revision before', async () => {
    const { liveness, reported, state, answer } = start();
    await liveness.start();
    state.held = true;
    state.revision = 1n;
    const first = liveness.report();
    await Promise.resolve();
    state.revision = 2n;
    const second = liveness.report();
    await new Promise(setImmediate);
    expect(reported).toEqual([0n, 1n]);
    state.held = false;
    answer();
    await Promise.all([first, second]);
    expect(reported).toEqual([0n, 1n, 2n]);
    await liveness.close();
  });
});
