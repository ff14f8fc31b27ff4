import type { BodyBound } from '../bound/body-bound.ts';
import type { BoundRequest, MemberSpan } from '../bound/request.ts';
import type { AppliedCap, Rates, RequestBound, WindowNeed } from '../types.ts';

/** How much a request may use, for every way in which a cap may count it. */
export interface Estimate {
  readonly bound: BodyBound;
  /** Of every upstream that may answer. */
  readonly rates: readonly Rates[];
  /** `max_tokens` that a cap of mode `bounded` holds at most. */
  readonly expectedOutput: number;
}

/** How often tools at the upstream are expected to be used by one request; searches, once each time. */
const EXPECTED_ROUNDS = 3;
/** What each round is expected to read of their results, those of the rounds before included. */
const EXPECTED_RESULT_TOKENS = 30_000;

/**
 * What is held in a cap of a mode. Strict: the worst case, in which each round of server tools reads a whole context
 * window. Bounded: output as it was up to now; of server tools at most three rounds, each of which reads the prompt again
 * and 30,000 tokens of results, and as many searches; a compaction reads the prompt once more. Never more than strict.
 */
export function heldOf(mode: 'strict' | 'bounded', bound: BodyBound, expectedOutput: number): RequestBound {
  if (mode === 'strict') return bound;
  const { promptTokens, promptReads, serverRounds } = bound;
  const rounds = Math.min(serverRounds, EXPECTED_ROUNDS);
  const expectedInput = promptReads * promptTokens + rounds * (promptTokens + EXPECTED_RESULT_TOKENS);
  return {
    ...bound,
    inputTokens: Math.min(bound.inputTokens, expectedInput),
    outputTokens: Math.min(bound.outputTokens, expectedOutput),
    webSearches: Math.min(bound.webSearches, EXPECTED_ROUNDS),
  };
}

/** What a request needs of one cap's window: its worst case, or what its mode holds instead. 0 where nothing is held. */
export function needOf({ limit }: AppliedCap, { bound, rates, expectedOutput }: Estimate): bigint {
  if (limit.mode === 'postpaid') return 0n;
  const held = heldOf(limit.mode, bound, expectedOutput);
  if (limit.unit !== 'nano_usd') return BigInt(held.inputTokens) + BigInt(held.outputTokens);
  let most = 0n;
  for (const rate of rates) {
    const ceiling = (limit.mode === 'strict' ? rate.strict : rate).ceiling(held);
    if (ceiling > most) most = ceiling;
  }
  return most;
}

/**
 * What a request needs in all: one need for each window, since several caps may count in the same one. The lowest of
 * them then counts for all.
 */
export function needsOf(caps: readonly AppliedCap[], estimate: Estimate): readonly WindowNeed[] {
  const needs: WindowNeed[] = [];
  for (const cap of caps) {
    const amount = needOf(cap, estimate);
    const same = needs.findIndex(({ window }) => window.id === cap.window.id);
    const other = needs[same];
    if (other === undefined) {
      needs.push({ window: cap.window, cap: cap.amount, amount });
      continue;
    }
    needs[same] = {
      window: cap.window,
      cap: cap.amount < other.cap ? cap.amount : other.cap,
      amount: amount > other.amount ? amount : other.amount,
    };
  }
  return needs;
}

/** The least that better knowledge of its prompt could make of a request: as if it were nothing. */
export function withoutPrompt(bound: BodyBound): BodyBound {
  return { ...bound, promptTokens: 0, inputTokens: bound.serverTokens };
}

/** The bound of a request whose output was lowered as far as it may be. */
export function loweredOf(bound: BodyBound, floor: number): BodyBound {
  const lowered = bound.answers * floor + bound.serverOutputTokens;
  return { ...bound, outputTokens: Math.min(bound.outputTokens, lowered) };
}

/** What is taken for one token where nobody counted: so many bytes of ASCII, and half as many of everything else. */
const BYTES_PER_TOKEN = 4;
/** What is taken for a picture, and for a document. */
const MEDIA_TOKENS = 1_600;
/** How many bytes of a body are looked at, to tell what kind of text it is. */
const SAMPLES = 16_384;

/**
 * The input of a request whose upstream did not count it, in tokens. Pictures and documents have many more bytes than
 * tokens, so with them only what surely is text counts, and something for each of them.
 */
export function estimatedInput({ body, fields, words }: BoundRequest, most: number): number {
  const media = words.image + words.document;
  const tokens =
    media > 0
      ? textTokens(body, fields.tools) + textTokens(body, fields.system) + media * MEDIA_TOKENS
      : textTokens(body, { start: 0, end: body.length });
  return Math.min(most, tokens);
}

function textTokens(body: Buffer, span: MemberSpan | undefined): number {
  if (span === undefined) return 0;
  const bytes = span.end - span.start;
  const step = Math.max(1, Math.floor(bytes / SAMPLES));
  let seen = 0;
  let high = 0;
  for (let i = span.start; i < span.end; i += step) {
    seen++;
    high += (body[i] as number) >>> 7;
  }
  return seen === 0 ? 0 : Math.ceil((bytes * (1 + high / seen)) / BYTES_PER_TOKEN);
}
