import type { RequestBound } from '../types.ts';
import { contextWindowOf } from './context-window.ts';
import { isObject, valueOf, type BoundRequest } from './request.ts';
import { serverWorkOf } from './server-tools.ts';

/**
 * A request's worst case, worked out from its body. Holds if a token has at least one byte, which is so for text in
 * any byte-level encoding; what has no bytes is counted apart.
 */
export interface BodyBound extends RequestBound {
  /** What the body itself makes, read once; {@link withPromptTokens} puts a better count in its place. */
  readonly promptTokens: number;
  /** How often `inputTokens` has that: twice when the upstream may compact the conversation first. */
  readonly promptReads: 1 | 2;
  /** How often the model may be sampled again for tools at the upstream; each time, `inputTokens` has the whole window. */
  readonly serverRounds: number;
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
/** The most that any model answers; for models that tools ask, and for bodies without a usable `max_tokens`, which upstreams refuse. */
const MOST_OUTPUT = 128_000;

/**
 * The cheap bound: for every request, without parsing its body.
 *
 * @param model The catalog's name.
 */
export function boundOf(request: BoundRequest, model: string): BodyBound {
  const { body, fields, words } = request;
  const window = contextWindowOf(request, model);
  const server = serverWorkOf(request);
  const maxTokens = Math.min(window, maxTokensOf(request) ?? MOST_OUTPUT);
  const promptTokens = Math.min(window, promptTokensOf(request));
  const serverOutputTokens = server.consultations * MOST_OUTPUT;
  let promptReads: 1 | 2 = 1;
  let answers = 1;
  let serverTokens = server.rounds * window;
  if (mayCompact(request)) {
    // Before each sampling the upstream looks whether to compact: that reads what the sampling would have read, and
    // writes a summary, which the sampling then reads. An advisor is not sampled again by itself.
    const againForTools = server.rounds - server.consultations;
    promptReads = 2;
    answers = 2 + againForTools;
    serverTokens += againForTools * window + maxTokens;
  }
  return {
    promptTokens,
    promptReads,
    serverRounds: server.rounds,
    serverTokens,
    serverOutputTokens,
    answers,
    inputTokens: promptReads * promptTokens + serverTokens,
    outputTokens: answers * maxTokens + serverOutputTokens,
    webSearches: server.webSearches,
    cacheWrites: words['1h'] > 0 ? '1h' : words.cache_control > 0 || server.rounds > 0 ? '5m' : 'none',
    fastMode: fields.speed !== undefined && valueOf({ body, fields }, 'speed') !== 'standard',
  };
}

/** The same request with a better bound of what its body makes; never a worse one. */
export function withPromptTokens(bound: BodyBound, promptTokens: number): BodyBound {
  if (promptTokens >= bound.promptTokens) return bound;
  return { ...bound, promptTokens, inputTokens: bound.promptReads * promptTokens + bound.serverTokens };
}

/** `max_tokens` as it stands in the body; undefined when it is missing or no count. */
export function maxTokensOf(request: Pick<BoundRequest, 'body' | 'fields'>): number | undefined {
  const value = valueOf(request, 'max_tokens');
  return typeof value === 'number' && value >= 0 ? Math.ceil(value) : undefined;
}

/** Upper bound of what the body makes; documents and files have a size that the body does not show. */
function promptTokensOf({ body, fields, words }: BoundRequest): number {
  if (words.document > 0 || words.file_id > 0) return Infinity;
  // A tool that is loaded on demand is shown again where it is referred to.
  const { tools } = fields;
  const shownAgain = tools === undefined ? 0 : words.tool_reference * (tools.end - tools.start);
  return body.length + PROMPT_OVERHEAD + words.image * IMAGE_TOKENS + shownAgain;
}

/** Whether the upstream may summarize the conversation and go on: unless every edit only leaves something out. */
function mayCompact(request: BoundRequest): boolean {
  const { body, fields } = request;
  const { context_management: span } = fields;
  if (span === undefined) return false;
  const management = valueOf(request, 'context_management');
  if (management === null) return false;
  const edits: unknown = isObject(management) ? management['edits'] : undefined;
  if (!Array.isArray(edits)) return true;
  if (!edits.every((edit) => isObject(edit) && /^clear_/.test(String(edit['type'])))) return true;
  // Where a name stands twice, the upstream may take the one that JSON.parse does not.
  return /compact|\\u/.test(body.toString('latin1', span.start, span.end));
}
