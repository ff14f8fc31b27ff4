import { describe, expect, it } from '@jest/globals';
import type { Rates, RequestBound } from '../types.ts';
import { boundOf } from './body-bound.ts';
import { fits, shrinkOutput, type Remainder, type ShrinkResult } from './shrink-output.ts';
import { boundRequest } from './testing/bound-request.ts';

const MODEL = 'claude-haiku-4-5-20251001';

/** Prices in nano-USD per token. */
function rates(input: bigint, output: bigint): Pick<Rates, 'ceiling'> {
  return {
    ceiling: (bound: RequestBound) => BigInt(bound.inputTokens) * input + BigInt(bound.outputTokens) * output,
  };
}

const PRICES = [rates(1n, 5n), rates(2n, 4n)];
const body = {
  max_tokens: 32_000,
  stream: true,
  messages: [{ role: 'user', content: 'größer' }],
  model: MODEL,
};

function shrink(value: unknown, left: Remainder, floor = 1): ShrinkResult {
  const request = boundRequest(value);
  return shrinkOutput({ request, bound: boundOf(request, MODEL), rates: PRICES, left, floor });
}

function parsed(result: ShrinkResult): Record<string, unknown> {
  if (result.state !== 'shrunk') throw new Error(result.reason);
  return JSON.parse(result.body.toString()) as Record<string, unknown>;
}

describe('shrinkOutput', () => {
  it('finds the largest max_tokens that fits, at the dearest upstream', () => {
    const input = boundOf(boundRequest(body), MODEL).inputTokens;
    for (const spare of [0, 5, 1234, 20_000, 80_000, 10_000_000]) {
      const nanoUsd = BigInt(2 * input + spare);
      const best = Math.min(32_000, Math.floor((input + spare) / 5), Math.floor(spare / 4));
      const result = shrink(body, { nanoUsd }, 0);
      if (best === 0) {
        expect(result).toEqual({ state: 'impossible', reason: 'floor' });
        continue;
      }
      if (result.state !== 'shrunk') throw new Error(result.reason);
      expect(result.maxTokens).toBe(best);
      expect(fits(result.bound, PRICES, { nanoUsd })).toBe(true);
      const more = { ...result.bound, outputTokens: best + 1 };
      expect(fits(more, PRICES, { nanoUsd })).toBe(best === 32_000);
    }
  });

  it('counts input and output together where a cap counts tokens', () => {
    const { inputTokens } = boundOf(boundRequest(body), MODEL);
    const result = shrink(body, { tokens: BigInt(inputTokens) + 777n, nanoUsd: 10n ** 12n });
    expect(result).toMatchObject({
      state: 'shrunk',
      maxTokens: 777,
      bound: { outputTokens: 777, inputTokens },
    });
  });

  it('changes nothing else in the body', () => {
    const text = JSON.stringify(body);
    const { inputTokens } = boundOf(boundRequest(body), MODEL);
    const result = shrink(body, { tokens: BigInt(inputTokens) + 777n });
    if (result.state !== 'shrunk') throw new Error(result.reason);
    expect(result.body.toString()).toBe(text.replace('32000', '777'));
  });

  it('lowers a thinking budget along, which stays below max_tokens', () => {
    const left = (value: unknown, output: number): Remainder => ({
      tokens: BigInt(boundOf(boundRequest(value), MODEL).inputTokens + output),
    });
    const thinks = (budget_tokens: number) => ({ ...body, thinking: { type: 'enabled', budget_tokens } });
    const tight = thinks(31_999);
    expect(parsed(shrink(tight, left(tight, 5000)))).toEqual({
      ...tight,
      max_tokens: 5000,
      thinking: { type: 'enabled', budget_tokens: 4999 },
    });
    const roomy = thinks(2000);
    expect(parsed(shrink(roomy, left(roomy, 5000)))).toEqual({ ...roomy, max_tokens: 5000 });
    expect(parsed(shrink(tight, left(tight, 1025)))).toMatchObject({
      max_tokens: 1025,
      thinking: { budget_tokens: 1024 },
    });
    expect(shrink(tight, left(tight, 1024))).toEqual({ state: 'impossible', reason: 'thinking' });
    // Interleaved thinking: the budget is of all answers together and may be above max_tokens.
    const interleaved = thinks(60_000);
    expect(parsed(shrink(interleaved, left(interleaved, 500)))).toEqual({ ...interleaved, max_tokens: 500 });
    const adaptive = { ...body, thinking: { type: 'adaptive' } };
    expect(parsed(shrink(adaptive, left(adaptive, 500)))).toEqual({ ...adaptive, max_tokens: 500 });
    const first = { thinking: { type: 'enabled', budget_tokens: 31_999 }, ...body };
    expect(parsed(shrink(first, left(first, 5000)))).toMatchObject({
      max_tokens: 5000,
      thinking: { budget_tokens: 4999 },
    });
  });

  it('says why it cannot', () => {
    const { inputTokens } = boundOf(boundRequest(body), MODEL);
    expect(shrink(body, { nanoUsd: 1n })).toEqual({ state: 'impossible', reason: 'input' });
    expect(shrink(body, { tokens: BigInt(inputTokens) })).toEqual({ state: 'impossible', reason: 'floor' });
    expect(shrink(body, { tokens: BigInt(inputTokens) + 255n }, 256)).toEqual({
      state: 'impossible',
      reason: 'floor',
    });
    expect(shrink(body, { tokens: BigInt(inputTokens) + 256n }, 256)).toMatchObject({ maxTokens: 256 });
    expect(shrink({ messages: body.messages }, { nanoUsd: 10n ** 12n })).toEqual({
      state: 'impossible',
      reason: 'body',
    });
    expect(shrink({ ...body, max_tokens: 'many' }, { nanoUsd: 10n ** 12n })).toEqual({
      state: 'impossible',
      reason: 'body',
    });
  });

  it('leaves room for the second answer of a request that may be compacted', () => {
    const compacted = { ...body, context_management: { edits: [{ type: 'compact_20260112' }] } };
    const { inputTokens } = boundOf(boundRequest(compacted), MODEL);
    expect(shrink(compacted, { tokens: BigInt(inputTokens) + 1001n })).toMatchObject({
      maxTokens: 500,
      bound: { outputTokens: 1000 },
    });
  });

  it('cannot shorten what a tool asks another model', () => {
    const advised = { ...body, tools: [{ type: 'advisor_20260301', name: 'advisor', max_uses: 1 }] };
    const { inputTokens } = boundOf(boundRequest(advised), MODEL);
    expect(shrink(advised, { tokens: BigInt(inputTokens) + 128_500n })).toMatchObject({
      maxTokens: 500,
      bound: { outputTokens: 128_500 },
    });
    expect(shrink(advised, { tokens: BigInt(inputTokens) + 127_000n })).toEqual({
      state: 'impossible',
      reason: 'input',
    });
  });

  it('fits what is held instead of the worst case, where less is', () => {
    const searching = { ...body, tools: [{ type: 'web_search_20250305', name: 'web_search', max_uses: 8 }] };
    const request = boundRequest(searching);
    const bound = boundOf(request, MODEL);
    const result = shrinkOutput({
      request,
      bound,
      rates: PRICES,
      left: { tokens: 5777n },
      held: (lowered) => ({ ...lowered, inputTokens: 5000 }),
      floor: 1,
    });
    // The worst case stays whole: other caps hold that.
    expect(result).toMatchObject({
      maxTokens: 777,
      bound: { outputTokens: 777, inputTokens: bound.inputTokens },
    });
  });

  it('ends for a max_tokens beyond all numbers', () => {
    const huge = boundRequest({ ...body, max_tokens: 1e300 });
    const bound = boundOf(huge, MODEL);
    expect(
      shrinkOutput({
        request: huge,
        bound,
        rates: PRICES,
        left: { tokens: BigInt(bound.inputTokens) + 5n },
        floor: 1,
      }),
    ).toMatchObject({ maxTokens: 5 });
  });
});
