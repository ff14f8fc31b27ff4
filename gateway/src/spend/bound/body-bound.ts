import type { RequestBound } from '../types.ts';
import { contextWindowOf, LARGE_WINDOW } from './context-window.ts';
import { attemptsOf } from './fallbacks.ts';
import { isObject, valueOf, type BoundRequest } from './request.ts';
import { MOST_OUTPUT, serverWorkOf } from './server-tools.ts';

/**
 * A request's worst case, worked out from its body. Holds if a token has at least one byte, which is so for text in
 * any byte-level encoding; what has no bytes is counted apart.
 */
export interface BodyBound extends RequestBound {
  /** What the body itself makes, read once; {@link withPromptTokens} puts a better count in its place. */
  readonly promptTokens: number;
  /**
   * How often `inputTokens` has that: once for each model that may be tried, and twice as often when the upstream may
   * compact the conversation first.
   */
  readonly promptReads: number;
  /**
   * How often the model may be sampled again for tools at the upstream. Each time `inputTokens` has the whole window, or
   * what web searches can have brought until then.
   */
  readonly serverRounds: number;
  /** How often it is read again with what web searches brought; see {@link SEARCH_RESULT_TOKENS}. */
  readonly promptRereads: number;
  /** The rest of `inputTokens`: what tools at the upstream may bring, and summaries. */
  readonly serverTokens: number;
  /** The part of `outputTokens` that `max_tokens` does not limit. */
  readonly serverOutputTokens: number;
  /** How often the model may write up to `max_tokens`: its answer, and each summary when the upstream may compact. */
  readonly answers: number;
}

/** What the upstream adds by itself: prompts for tools and thinking, the markup of messages. Measured: some hundreds. */
export const PROMPT_OVERHEAD = 2048;
/** The largest image that models get to see has 4784 tokens (2576 pixels at its long edge); larger ones are scaled. */
export const IMAGE_TOKENS = 5000;

/**
 * What one web search brings the model to read, in tokens, at most. Nothing documents it: 7,000 stand in the
 * documentation's example, and up to 19,000 were measured. See docs/adr/0017-contention.md for what follows should it be
 * more.
 */
export const SEARCH_RESULT_TOKENS = 30_000;

/** To what a request is to be lowered. */
export interface Lowering {
  readonly maxTokens?: number;
  /** `max_uses` of web searches. */
  readonly searches?: number;
}

/**
 * The cheap bound: for every request, without parsing its body.
 *
 * @param model The catalog's name.
 * @param lowering What it would be with lower limits.
 */
export function boundOf(request: BoundRequest, model: string, lowering: Lowering = {}): BodyBound {
  const { words } = request;
  const server = serverWorkOf(request, lowering.searches);
  const window = contextWindowOf(request, model);
  const attempts = attemptsOf(request);
  const asked = maxTokensOf(request) ?? MOST_OUTPUT;
  const maxTokens = Math.min(window, asked, lowering.maxTokens ?? Infinity);
  const promptTokens = Math.min(window, promptTokensOf(request));
  let reads = 1;
  let answers = 1;
  // What a tool asks is mostly a larger model. It is not sampled again by itself.
  const againForTools = server.rounds - server.consultations;
  let serverTokens = againForTools * window + server.consultations * LARGE_WINDOW;
  if (mayCompact(request)) {
    // Before each sampling the upstream looks whether to compact: that reads what the sampling would have read, and
    // writes a summary, which the sampling then reads.
    reads = 2;
    answers = 2 + againForTools;
    serverTokens += againForTools * window + Math.max(maxTokens, ...attempts.ownMaxTokens);
  }
  let promptRereads = 0;
  if (server.plainSearches > 0 && reads === 1) {
    const again = againWithResults(server.plainSearches, Math.max(maxTokens, ...attempts.ownMaxTokens));
    // In a small window the whole of it may be less.
    if (again.rounds * promptTokens + again.tokens < serverTokens) {
      promptRereads = attempts.count * again.rounds;
      serverTokens = again.tokens;
    }
  }
  const promptReads = attempts.count * reads;
  serverTokens *= attempts.count;
  // A fallback that has a `max_tokens` of its own is not limited by the request's.
  const limited = answers * (attempts.count - attempts.ownMaxTokens.length);
  const ownOutput = attempts.ownMaxTokens.reduce((sum, own) => sum + answers * Math.min(window, own), 0);
  const serverOutputTokens = attempts.count * server.consultedTokens + ownOutput;
  return {
    promptTokens,
    promptReads,
    promptRereads,
    serverRounds: attempts.count * server.rounds,
    serverTokens,
    serverOutputTokens,
    answers: limited,
    inputTokens: (promptReads + promptRereads) * promptTokens + serverTokens,
    outputTokens: limited * maxTokens + serverOutputTokens,
    webSearches: attempts.count * server.webSearches,
    cacheWrites: words['1h'] > 0 ? '1h' : words.cache_control > 0 || server.rounds > 0 ? '5m' : 'none',
    fastMode: attempts.fast || asksForSpeed(request),
    usInference: asksForPlace(request),
  };
}

/** The same request with a better bound of what its body makes; never a worse one. */
export function withPromptTokens(bound: BodyBound, promptTokens: number): BodyBound {
  if (promptTokens >= bound.promptTokens) return bound;
  const { promptReads, promptRereads, serverTokens } = bound;
  return { ...bound, promptTokens, inputTokens: (promptReads + promptRereads) * promptTokens + serverTokens };
}

/**
 * What is read again when the web is searched, beside the prompt. Each round has one search or more, and reads all results
 * so far and what the model wrote; one more is for a search beyond the limit, which the upstream answers with an error.
 */
function againWithResults(searches: number, maxTokens: number): { rounds: number; tokens: number } {
  const rounds = searches + 1;
  const results = (searches * (searches + 1)) / 2 + searches;
  return { rounds, tokens: results * SEARCH_RESULT_TOKENS + rounds * maxTokens };
}

/** `max_tokens` as it stands in the body; undefined when it is missing or no count. */
export function maxTokensOf(request: Pick<BoundRequest, 'body' | 'fields'>): number | undefined {
  const value = valueOf(request, 'max_tokens');
  return typeof value === 'number' && value >= 0 ? Math.ceil(value) : undefined;
}

/** Whether it may be answered in fast mode. */
function asksForSpeed(request: BoundRequest): boolean {
  return request.fields.speed !== undefined && valueOf(request, 'speed') !== 'standard';
}

/** Whether it may have to be answered in one place, which costs more: unless it says that any will do. */
function asksForPlace(request: BoundRequest): boolean {
  if (request.fields.inference_geo === undefined) return false;
  const place = valueOf(request, 'inference_geo');
  return place !== null && place !== 'global';
}

/** Upper bound of what the body makes; documents and files have a size that the body does not show. */
function promptTokensOf(request: BoundRequest): number {
  const { body, fields, words } = request;
  if (words.document > 0 || words.file_id > 0 || hasHiddenInput(request)) return Infinity;
  // A tool that is loaded on demand is shown again where it is referred to.
  const { tools } = fields;
  const shownAgain = tools === undefined ? 0 : words.tool_reference * (tools.end - tools.start);
  return body.length + PROMPT_OVERHEAD + words.image * IMAGE_TOKENS + shownAgain;
}

/**
 * Whether the upstream adds what it has kept itself: the earlier messages of a thread, the skills of a container.
 * Neither stands in the body, nor is it part of what the upstream counts beforehand.
 */
export function hasHiddenInput(request: Pick<BoundRequest, 'body' | 'fields'>): boolean {
  const { thread, container } = request.fields;
  if (thread !== undefined && !beginsThread(valueOf(request, 'thread'))) return true;
  return container !== undefined && !isPlainId(valueOf(request, 'container'));
}

function beginsThread(thread: unknown): boolean {
  return (
    thread === null || (isObject(thread) && thread['type'] === 'create' && Object.keys(thread).length === 1)
  );
}

function isPlainId(container: unknown): boolean {
  return container === null || typeof container === 'string';
}

/** Whether the upstream may summarize the conversation and go on: unless every edit only leaves something out. */
function mayCompact(request: BoundRequest): boolean {
  const { body, fields } = request;
  const { context_management: span, compaction } = fields;
  if (compaction !== undefined && valueOf(request, 'compaction') !== null) return true;
  if (span === undefined) return false;
  const management = valueOf(request, 'context_management');
  if (management === null) return false;
  const edits: unknown = isObject(management) ? management['edits'] : undefined;
  if (!Array.isArray(edits)) return true;
  if (!edits.every((edit) => isObject(edit) && /^clear_/.test(String(edit['type'])))) return true;
  // Where a name stands twice, the upstream may take the one that JSON.parse does not.
  return /compact|\\u/.test(body.toString('latin1', span.start, span.end));
}
