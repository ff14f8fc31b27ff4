import type { Budget, Developer } from './caps.ts';
import { bodyOf, type Ask } from './client.ts';
import type { AnswerPlan } from './metered-upstream.ts';
import type { Random } from './random.ts';
import { answerTo } from './storm-plan.ts';
import type { Storm } from './storm.ts';
import type { WindowRow } from './ledger-observer.ts';

/** Rates of the cheapest model here, in nano-USD per token. */
const CHEAPEST = { model: 'claude-haiku-4-5', input: 1_000n, output: 5_000n };
const PATIENCE = 400;
/** Upstreams add prompts of their own: a bound by bytes leaves room for so many tokens. */
const PROMPT_OVERHEAD = 2048;
/** A count of the upstream's is an estimate: a bound made from it leaves room for a twentieth and so many tokens. */
const COUNT_MARGIN = 512;

export function cheapAsk(index: number, bytes: number, maxTokens: number): Ask {
  const ask: Ask = {
    index,
    model: CHEAPEST.model,
    maxTokens,
    bytes,
    stream: false,
    cache: 'none',
    webSearches: 0,
  };
  return { ...ask, bytes: bodyOf(ask).length };
}

/**
 * What has to be left for a {@link cheapAsk} to be let through, in a budget's unit.
 *
 * @param counted What its input counts as, see {@link spendToTheEnd}.
 */
export function leastFor(ask: Ask, counted: number, unit: Budget['unit']): bigint {
  const input = BigInt(
    Math.min(ask.bytes + PROMPT_OVERHEAD, counted + Math.ceil(counted / 20) + COUNT_MARGIN),
  );
  const output = BigInt(ask.maxTokens);
  return unit === 'nano_usd' ? input * CHEAPEST.input + output * CHEAPEST.output : input + output;
}

/** The largest `max_tokens` with which a request of so many bytes fits for sure. */
export function maxTokensThatFit(remaining: bigint, bytes: number): number {
  return Number((remaining - BigInt(bytes + PROMPT_OVERHEAD) * CHEAPEST.input) / CHEAPEST.output);
}

/** An answer that uses next to nothing of what was asked for. */
export function smallAnswer(): AnswerPlan {
  return {
    tokens: { input: 20, output: 1, cacheRead: 0, cacheWrite5m: 0, cacheWrite1h: 0, webSearches: 0 },
    delayMs: 0,
    streamMs: 0,
    pieces: 1,
  };
}

/**
 * Asks for less and less until not even the smallest request is let through.
 *
 * @returns that request, and what its input counts as: the upstream's count, and the bytes that it is not asked to count.
 * @throws Error when there is no end to it, or something else than a refusal comes.
 */
export async function spendToTheEnd(
  storm: Storm,
  developer: Developer,
  random: Random,
): Promise<{ ask: Ask; counted: number }> {
  let bytes = 30_000;
  let maxTokens = 2_000;
  for (let asked = 0; asked < PATIENCE; asked++) {
    const ask = cheapAsk(storm.nextIndex(), bytes, maxTokens);
    const answer = { ...answerTo(ask, random, false), delayMs: 0, streamMs: 0 };
    const got = await storm.ask(random.pick(storm.fleet.replicas), developer, ask, answer);
    if (got.status === 200) continue;
    if (got.status !== 429) throw new Error(`asked for little, got ${got.status}: ${got.body}`);
    if (maxTokens === 1 && bytes === 1) return { ask, counted: answer.tokens.input + uncountedBytes(ask) };
    maxTokens = Math.max(1, Math.floor(maxTokens / 3));
    bytes = Math.max(1, Math.floor(bytes / 3));
  }
  throw new Error(`${developer.sub} still spends after ${PATIENCE} requests`);
}

/** Of the members that counting does not take. */
function uncountedBytes(ask: Ask): number {
  const body = bodyOf(ask);
  const { model, messages } = JSON.parse(body.toString()) as Record<string, unknown>;
  return body.length - Buffer.byteLength(JSON.stringify({ model, messages }));
}

/** What is left in each budget that is in force now. */
export function remainders(
  budgets: readonly Budget[],
  windows: readonly WindowRow[],
  now = new Date(),
): { budget: Budget; left: bigint }[] {
  return budgets.map((budget) => {
    const window = windows.find(
      ({ subjectKind, subject, unit, period, startsAt, endsAt }) =>
        subjectKind === budget.subjectKind &&
        subject === budget.subject &&
        unit === budget.unit &&
        period === budget.period &&
        startsAt <= now &&
        now < endsAt,
    );
    return { budget, left: budget.amount - (window?.spent ?? 0n) };
  });
}
