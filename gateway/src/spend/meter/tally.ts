import type { MeteredUsage } from '../types.ts';

/** What is taken for one token where the upstream's count is missing, as the reference gateway does. */
const CHARACTERS_PER_TOKEN = 4;

/** The counts of one answer, as they come in. */
export class Tally {
  #inputCounted = false;
  #input = 0;
  #cacheRead = 0;
  #cacheWrite5m = 0;
  #cacheWrite1h = 0;
  #webSearches = 0;
  #fastMode = false;
  /** What `message_start` says was written before anything was sent: a lower bound, not a count. */
  #openingOutput = 0;
  #output: number | undefined;
  /** Characters that were sent since the last count of the output. */
  #uncounted = 0;
  #characters = 0;

  /** Content went by. @param characters UTF-16 code units. */
  sent(characters: number): void {
    this.#characters += characters;
    this.#uncounted += characters;
  }

  /** The usage object of `message_start`: all of the input, and next to nothing of the output. */
  opening(usage: unknown): void {
    const output = this.#add(usage);
    if (output !== undefined) this.#openingOutput = output;
  }

  /** A usage object that counts everything so far: that of `message_delta`, or of an answer that is not streamed. */
  count(usage: unknown): void {
    const output = this.#add(usage);
    if (output === undefined) return;
    this.#output = output;
    this.#uncounted = 0;
  }

  result(): MeteredUsage {
    // Whoever sent text has not written nothing: a zero is a count that got lost on the way.
    const counted = this.#output === 0 && this.#characters > 0 ? undefined : this.#output;
    const outputTokens =
      counted === undefined
        ? Math.max(this.#openingOutput, tokensOf(this.#characters))
        : counted + tokensOf(this.#uncounted);
    return {
      inputTokens: this.#input,
      outputTokens,
      cacheReadTokens: this.#cacheRead,
      cacheWrite5mTokens: this.#cacheWrite5m,
      cacheWrite1hTokens: this.#cacheWrite1h,
      webSearches: this.#webSearches,
      fastMode: this.#fastMode,
      outcome: counted === undefined || this.#uncounted > 0 ? 'partial' : 'complete',
      inputCounted: this.#inputCounted,
    };
  }

  /**
   * Counts are cumulative: a later one replaces an earlier one and is never added. Of input counts the largest stands,
   * since some upstreams send a zero in the last frame for what they have said in the first.
   *
   * @returns the output tokens, when they are there.
   */
  #add(usage: unknown): number | undefined {
    if (!isRecord(usage)) return undefined;
    const counts = countsOf(usage);
    if (counts.input !== undefined || counts.cacheRead !== undefined) this.#inputCounted = true;
    this.#input = Math.max(this.#input, counts.input ?? 0);
    this.#cacheRead = Math.max(this.#cacheRead, counts.cacheRead ?? 0);
    this.#cacheWrite1h = Math.max(this.#cacheWrite1h, counts.cacheWrite1h);
    this.#cacheWrite5m = Math.max(
      this.#cacheWrite5m,
      counts.cacheWrite5m,
      counts.cacheWrites - this.#cacheWrite1h,
    );
    const tools = usage['server_tool_use'];
    if (isRecord(tools)) {
      this.#webSearches = Math.max(this.#webSearches, tokenCount(tools['web_search_requests']) ?? 0);
    }
    if (usage['speed'] === 'fast') this.#fastMode = true;
    return counts.output;
  }
}

interface Counts {
  readonly input: number | undefined;
  readonly output: number | undefined;
  readonly cacheRead: number | undefined;
  /** All cache writes, by whatever name they came. */
  readonly cacheWrites: number;
  readonly cacheWrite5m: number;
  readonly cacheWrite1h: number;
}

/**
 * Of each kind the larger of the usage object's own count and of the sum over its `iterations`: what was sampled to
 * compact the conversation, or to ask an advisor, is billed and stands in the iterations only.
 */
function countsOf(usage: Record<string, unknown>): Counts {
  const own = ownCountsOf(usage);
  const { iterations } = usage;
  if (!Array.isArray(iterations)) return own;
  let sum: Counts | undefined;
  for (const iteration of iterations as unknown[]) {
    if (!isRecord(iteration)) continue;
    const counts = ownCountsOf(iteration);
    sum = sum === undefined ? counts : combine(sum, counts, (a, b) => a + b);
  }
  return sum === undefined ? own : combine(own, sum, Math.max);
}

function ownCountsOf(usage: Record<string, unknown>): Counts {
  const breakdown = usage['cache_creation'];
  const writes = isRecord(breakdown) ? breakdown : {};
  const cacheWrite5m = tokenCount(writes['ephemeral_5m_input_tokens']) ?? 0;
  const cacheWrite1h = tokenCount(writes['ephemeral_1h_input_tokens']) ?? 0;
  return {
    input: tokenCount(usage['input_tokens']),
    output: tokenCount(usage['output_tokens']),
    cacheRead: tokenCount(usage['cache_read_input_tokens']),
    cacheWrites: Math.max(tokenCount(usage['cache_creation_input_tokens']) ?? 0, cacheWrite5m + cacheWrite1h),
    cacheWrite5m,
    cacheWrite1h,
  };
}

function combine(a: Counts, b: Counts, merge: (a: number, b: number) => number): Counts {
  const optional = (x: number | undefined, y: number | undefined): number | undefined =>
    x === undefined ? y : y === undefined ? x : merge(x, y);
  return {
    input: optional(a.input, b.input),
    output: optional(a.output, b.output),
    cacheRead: optional(a.cacheRead, b.cacheRead),
    cacheWrites: merge(a.cacheWrites, b.cacheWrites),
    cacheWrite5m: merge(a.cacheWrite5m, b.cacheWrite5m),
    cacheWrite1h: merge(a.cacheWrite1h, b.cacheWrite1h),
  };
}

/** @returns undefined for whatever is no count of tokens: absent, null, negative, a text. */
function tokenCount(value: unknown): number | undefined {
  if (typeof value !== 'number' || !(value >= 0)) return undefined;
  return Math.min(Math.ceil(value), Number.MAX_SAFE_INTEGER);
}

function tokensOf(characters: number): number {
  return Math.ceil(characters / CHARACTERS_PER_TOKEN);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
