import type { TokenUsage } from '@claude-gateway/prisma';
import type { Iteration, MeteredUsage, Uncounted } from '../types.ts';
import { combine, countsOf, isRecord, NO_COUNTS, usageOf, type Counts } from './counts.ts';

/** Tokens for the markup of a block that a model writes, and for the name of a tool (128 characters at most). */
const BLOCK_TOKENS = 8;
const TOOL_BLOCK_TOKENS = 200;
/** Values of `inference_geo` that cost nothing extra: anywhere, and models that do not know the member. */
const ANYWHERE: ReadonlySet<unknown> = new Set(['global', 'not_available']);

/** The counts of one answer, as they come in. */
export class Tally {
  #answered = false;
  /** Of all usage objects the largest count of each kind. */
  #counts = NO_COUNTS;
  /** The longest list of iterations. */
  #iterations: readonly { readonly model: string | undefined; readonly counts: Counts }[] = [];
  #fastMode = false;
  #usInference: boolean | undefined;
  /** What `message_start` says was written before anything was sent: a lower bound, not a count. */
  #openingOutput = 0;
  #output: number | undefined;
  /** Bytes that were sent, and those of them that belong to characters outside of ASCII: in all, and since the last count. */
  #bytes = 0;
  #highBytes = 0;
  #uncountedBytes = 0;
  #uncountedHighBytes = 0;
  /** Since the last count. */
  #markup = 0;
  #blocks = 0;
  #thinking = false;
  #serverWork = false;
  #failed = false;
  #unreadable = false;

  /** Content went by. @param highBytes Those of characters outside of ASCII. */
  sent(bytes: number, highBytes: number): void {
    this.#answered = true;
    this.#bytes += bytes;
    this.#highBytes += highBytes;
    this.#uncountedBytes += bytes;
    this.#uncountedHighBytes += highBytes;
  }

  /** A block of content begins. */
  block(type: string): void {
    this.#answered = true;
    this.#blocks++;
    this.#markup += type === 'tool_use' ? TOOL_BLOCK_TOKENS : BLOCK_TOKENS;
    if (type === 'thinking' || type === 'redacted_thinking') this.#thinking = true;
    // Tools at the upstream, their results, summaries, another model: more is read than the first count says.
    else if (type !== 'text' && type !== 'tool_use') this.#serverWork = true;
  }

  /** The usage object of `message_start`: all of the input, and next to nothing of the output. */
  opening(usage: unknown): void {
    this.#answered = true;
    const output = this.#add(usage);
    if (output !== undefined) this.#openingOutput = Math.max(this.#openingOutput, output);
  }

  /** A usage object that counts everything so far: that of `message_delta`, or of an answer that is not streamed. */
  count(usage: unknown): void {
    const output = this.#add(usage);
    if (output === undefined) return;
    this.#output = Math.max(this.#output ?? 0, output);
    this.#uncountedBytes = 0;
    this.#uncountedHighBytes = 0;
    this.#markup = 0;
    this.#thinking = false;
    this.#serverWork = false;
  }

  /** The upstream reported an error. */
  failed(): void {
    this.#failed = true;
  }

  /** The answer, or its end, cannot be read: how much it is does not show. */
  unreadable(): void {
    this.#unreadable = true;
  }

  get output(): number | undefined {
    return this.#output;
  }

  result(): MeteredUsage {
    // Whoever sent text has not written nothing: a zero is a count that got lost on the way.
    const counted = this.#output === 0 && this.#bytes > 0 ? undefined : this.#output;
    const outputTokens =
      counted === undefined
        ? Math.max(this.#openingOutput, tokensOf(this.#bytes, this.#highBytes))
        : counted + tokensOf(this.#uncountedBytes, this.#uncountedHighBytes);
    const topLevel = { ...this.#counts, output: outputTokens };
    const sum = this.#iterations.reduce((all, { counts }) => combine(all, counts, add), NO_COUNTS);
    const usage = usageOf(combine(topLevel, sum, Math.max));
    return {
      ...usage,
      fastMode: this.#fastMode,
      usInference: this.#usInference,
      outcome: counted === undefined || this.#uncountedBytes > 0 ? 'partial' : 'complete',
      answered: this.#answered,
      inputCounted: this.#isInputCounted(usage),
      topLevel: usageOf(topLevel),
      iterations: this.#iterations.map(({ model, counts }): Iteration => ({ ...usageOf(counts), model })),
      uncounted: this.#uncounted(counted),
    };
  }

  /** Every request has something to read: a zero of everything is a count that got lost, too. */
  #isInputCounted(usage: TokenUsage): boolean {
    const { inputTokens, cacheReadTokens, cacheWrite5mTokens, cacheWrite1hTokens } = usage;
    if (this.#counts.input === undefined && cacheReadTokens === 0) return false;
    return inputTokens + cacheReadTokens + cacheWrite5mTokens + cacheWrite1hTokens > 0;
  }

  #uncounted(counted: number | undefined): Uncounted {
    const sent = counted === undefined ? this.#bytes : this.#uncountedBytes;
    const nothing = counted === undefined && this.#blocks === 0 && sent === 0;
    return {
      mostOutputTokens: this.#unreadable ? Infinity : (counted ?? this.#openingOutput) + sent + this.#markup,
      thinking: this.#thinking ? 'begun' : nothing && !this.#failed ? 'possible' : 'none',
      serverWork: this.#serverWork,
    };
  }

  /**
   * Counts are cumulative, and some upstreams send a zero in the last frame for what they have said in the first: of each
   * kind the largest stands.
   *
   * @returns the output tokens, when they are there.
   */
  #add(usage: unknown): number | undefined {
    if (!isRecord(usage)) return undefined;
    this.#answered = true;
    const counts = countsOf(usage);
    this.#counts = combine(this.#counts, counts, Math.max);
    const { iterations, speed, inference_geo: geo } = usage;
    if (Array.isArray(iterations) && iterations.length >= this.#iterations.length) {
      this.#iterations = (iterations as unknown[])
        .filter(isRecord)
        .map((one) => ({ model: modelOf(one['model']), counts: { ...countsOf(one), webSearches: 0 } }));
    }
    if (speed === 'fast') this.#fastMode = true;
    if (typeof geo === 'string') this.#usInference = this.#usInference === true || !ANYWHERE.has(geo);
    return counts.output;
  }
}

/** Names of models have some hundred bytes at most. */
function modelOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value.slice(0, 256) : undefined;
}

/**
 * What is taken for so much text where the upstream's count is missing: a token for four characters of ASCII, as the
 * reference gateway does, and for two bytes of everything else. A Chinese character has three bytes, and a token or
 * more.
 */
function tokensOf(bytes: number, highBytes: number): number {
  return Math.ceil((bytes + highBytes) / 4);
}

function add(a: number, b: number): number {
  return a + b;
}
