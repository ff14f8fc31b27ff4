import type { RequestBound } from '../types.ts';
import { contextWindowOf } from './context-window.ts';
import { isObject, valueOf, type BoundRequest } from './request.ts';
import { serverWorkOf } from './server-tools.ts';

/**
 * A request's worst case, worked out from its body. Holds if a token has at least one byte, which is so for text in
 * any byte-level encoding; what has no bytes is counted apart.
 */
export interface BodyBound extends RequestBound {
  /** The part of `inputTokens` that the body itself makes; {@link withPromptTokens} puts a better count in its place. */
  readonly promptTokens: number;
  /** The rest: what tools at the upstream may bring. */
  readonly serverTokens: number;
  /** The part of `outputTokens` that `max_tokens` does not limit. */
  readonly serverOutputTokens: number;
  /** How often the model may answer at up to `max_tokens`: twice when the upstream may compact the conversation. */
  readonly answers: 1 | 2;
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
  const compacts = mayCompact(request);
  const answers = compacts ? 2 : 1;
  const promptTokens = Math.min(window, promptTokensOf(request));
  const serverTokens = (server.rounds + (compacts ? 1 : 0)) * window;
  const serverOutputTokens = server.consultations * MOST_OUTPUT;
  return {
    promptTokens,
    serverTokens,
    serverOutputTokens,
    answers,
    inputTokens: promptTokens + serverTokens,
    outputTokens: answers * Math.min(window, maxTokensOf(request) ?? MOST_OUTPUT) + serverOutputTokens,
    webSearches: server.webSearches,
    cacheWrites: words['1h'] > 0 ? '1h' : words.cache_control > 0 || server.rounds > 0 ? '5m' : 'none',
    fastMode: fields.speed !== undefined && valueOf({ body, fields }, 'speed') !== 'standard',
  };
}

/** The same request with a better bound of what its body makes; never a worse one. */
export function withPromptTokens(bound: BodyBound, promptTokens: number): BodyBound {
  if (promptTokens >= bound.promptTokens) return bound;
  return { ...bound, promptTokens, inputTokens: promptTokens + bound.serverTokens };
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

function mayCompact(request: BoundRequest): boolean {
  if (request.fields.context_management === undefined) return false;
  const management = valueOf(request, 'context_management');
  if (management === null) return false;
  const edits: unknown = isObject(management) ? management['edits'] : undefined;
  if (!Array.isArray(edits)) return true;
  return !edits.every((edit) => isObject(edit) && /^clear_/.test(String(edit['type'])));
}
