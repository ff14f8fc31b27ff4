import type { Dispatcher } from 'undici';
import { scanBody } from './body-scanner.ts';
import type { InferenceCall } from './inference.ts';

/** What `POST /v1/messages/count_tokens` takes of a request; it refuses members that it does not know. */
const COUNTED_MEMBERS = [
  'model',
  'system',
  'messages',
  'tools',
  'tool_choice',
  'thinking',
  'mcp_servers',
] as const;

/** Answers are a few bytes; a longer one is none. */
const MAX_ANSWER_BYTES = 16 * 1024;

/**
 * Counts the input of a request.
 *
 * @returns tokens; undefined when the upstream does not say.
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
  const body = countedPart(request.body);
  const scan = scanBody(body);
  if (typeof scan === 'string') return undefined;
  const prepared = await candidate.upstream.prepare(
    { ...request, ...scan, path: '/v1/messages/count_tokens', body, stream: false },
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
  const { input_tokens: tokens } = JSON.parse(answer) as { input_tokens?: unknown };
  if (typeof tokens !== 'number' || !Number.isSafeInteger(tokens) || tokens < 0) {
    throw new Error('the answer has no input_tokens');
  }
  return tokens;
}

/** @throws SyntaxError when the body has a string in it that is not JSON. */
function countedPart(body: Buffer): Buffer {
  const whole = JSON.parse(body.toString()) as Record<string, unknown>;
  const part: Record<string, unknown> = {};
  for (const name of COUNTED_MEMBERS) if (Object.hasOwn(whole, name)) part[name] = whole[name];
  return Buffer.from(JSON.stringify(part));
}
