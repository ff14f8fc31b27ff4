import type { Dispatcher } from 'undici';
import type { BodyField, Span } from './body-scanner.ts';
import type { InferenceCall } from './inference.ts';
import type { InferenceRequest, OtherModel } from './upstream.ts';

/**
 * What `POST /v1/messages/count_tokens` takes of a request and what matters there; it refuses members that it does not
 * know. Source: https://platform.claude.com/docs/en/api/beta/messages/count_tokens
 */
const COUNTED_FIELDS = [
  'model',
  'system',
  'messages',
  'tools',
  'tool_choice',
  'thinking',
  'cache_control',
  'compaction',
  'context_management',
  'mcp_servers',
  'output_config',
  'output_format',
] as const satisfies readonly BodyField[];

/**
 * Taken by the endpoint, which does not say whether it counts the schemas in them; they are billed. So their bytes count as
 * well.
 */
const MAYBE_UNCOUNTED_FIELDS = ['output_config', 'output_format'] as const satisfies readonly BodyField[];

/** Answers are a few bytes; a longer one is none. */
const MAX_ANSWER_BYTES = 16 * 1024;

/**
 * Counts the input of a request.
 *
 * @returns tokens, and one for each byte of members that the upstream does not take to be counted, or may leave out;
 *   undefined when it does not say.
 */
export type TokenCounter = (call: InferenceCall) => Promise<number | undefined>;

/**
 * Asks the first upstream of a request's chain for the count, which is free there, with the gateway's own credential.
 * Never rejects.
 *
 * @param timeoutMs For the whole question: somebody waits for it.
 */
export function createTokenCounter(dispatcher: Dispatcher, timeoutMs = 5_000): TokenCounter {
  return async (call) => {
    try {
      return await count(dispatcher, call, timeoutMs);
    } catch (error) {
      call.context.log.info(
        { request_id: call.context.id, reason: (error as Error).message },
        'cannot count the tokens of a request',
      );
      return undefined;
    }
  };
}

async function count(
  dispatcher: Dispatcher,
  { request, candidates }: InferenceCall,
  timeoutMs: number,
): Promise<number | undefined> {
  const [candidate] = candidates;
  if (candidate === undefined) return undefined;
  const signal = AbortSignal.timeout(timeoutMs);
  const counted = countedPart(request);
  const prepared = await candidate.upstream.prepare(
    { ...request, ...counted, path: '/v1/messages/count_tokens', stream: false },
    candidate.model,
  );
  const response = await dispatcher.request({
    origin: prepared.origin,
    path: prepared.path,
    method: 'POST',
    headers: prepared.headers,
    body: prepared.body,
    signal,
  });
  let answer = '';
  for await (const chunk of response.body.setEncoding('utf8') as AsyncIterable<string>) {
    answer += chunk;
    if (answer.length > MAX_ANSWER_BYTES) throw new Error('the answer is too long');
  }
  if (response.statusCode !== 200) throw new Error(`the upstream answered ${response.statusCode}`);
  const untold = request.body.length - counted.body.length;
  return tokensOf(JSON.parse(answer)) + untold + maybeUncounted(request);
}

/** In bytes. */
function maybeUncounted({ fields }: InferenceRequest): number {
  let bytes = 0;
  for (const name of MAYBE_UNCOUNTED_FIELDS) {
    const span = fields[name];
    if (span !== undefined) bytes += span.end - span.start;
  }
  return bytes;
}

/**
 * The larger number where the upstream says what there was before it left something out: at the time of the request
 * itself it may not do so yet.
 *
 * @throws Error when there is no number.
 */
function tokensOf(answer: unknown): number {
  const { input_tokens: tokens, context_management: management } = answer as {
    input_tokens?: unknown;
    context_management?: { original_input_tokens?: unknown } | null;
  };
  const original = management?.original_input_tokens ?? 0;
  if (!isCount(tokens) || !isCount(original)) throw new Error('the answer has no input_tokens');
  return Math.max(tokens, original);
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

/** The members that are counted, byte for byte, with where they and the models in them now stand. */
function countedPart({
  body,
  fields,
  otherModels,
}: InferenceRequest): Pick<InferenceRequest, 'body' | 'fields' | 'otherModels'> {
  const kept: Partial<Record<BodyField, Span>> = {};
  const models: OtherModel[] = [];
  const pieces: Buffer[] = [];
  let length = 0;
  for (const name of COUNTED_FIELDS) {
    const span = fields[name];
    if (span === undefined) continue;
    pieces.push(Buffer.from(length === 0 ? '{' : ','), body.subarray(span.keyStart, span.end));
    length++;
    const by = length - span.keyStart;
    kept[name] = { keyStart: length, start: span.start + by, end: span.end + by };
    for (const model of otherModels) {
      const { start, end } = model.span;
      if (start >= span.start && end <= span.end) {
        models.push({ ...model, span: { start: start + by, end: end + by } });
      }
    }
    length += span.end - span.keyStart;
  }
  pieces.push(Buffer.from(length === 0 ? '{}' : '}'));
  return { body: Buffer.concat(pieces), fields: kept, otherModels: models };
}
