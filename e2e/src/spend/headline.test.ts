import { expect, it } from '@jest/globals';
import { runHeadline } from './headline.ts';
import { dollars } from './prices.ts';

/** What a request may cost when it is admitted, at most; it does cost 6 cents. */
const WORST_CASE = 111_000_000n;

it.each([1, 2])(
  'spends no more than $5.00, and not much less, when 200 requests come at once to %i replicas',
  async (replicas) => {
    const result = await runHeadline({ program: 'ours', cap: '5.00', requests: 200, replicas });
    expect(result).toMatchObject({ asked: 200, failed: 0, overshootNanoUsd: 0n });
    expect(result.spentNanoUsd).toBeLessThanOrEqual(result.capNanoUsd);
    // All at once: what is refused is refused because of what the others might still cost.
    expect(BigInt(result.admitted) * WORST_CASE).toBeGreaterThan(result.capNanoUsd - WORST_CASE);
  },
  60_000,
);

it('sees the reference spend more than $5.00', async () => {
  const result = await runHeadline({ program: 'reference', cap: '5.00', requests: 200 });
  expect(result.failed).toBe(0);
  console.log(`reference: ${result.admitted} admitted, ${dollars(result.spentNanoUsd)} of $5.00 spent`);
  expect(result.overshootNanoUsd).toBeGreaterThan(0n);
}, 60_000);
