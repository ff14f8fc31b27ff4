import { randomUUID } from 'node:crypto';

/** As much of a Messages API request as the development upstream looks at. */
export interface MessagesRequest {
  readonly model?: unknown;
  readonly max_tokens?: unknown;
  readonly stream?: unknown;
  readonly messages?: unknown;
  readonly output_config?: unknown;
  readonly output_format?: unknown;
}

/** One server-sent event of a streamed answer. */
export interface MessageEvent {
  readonly type: string;
  readonly [field: string]: unknown;
}

export interface Usage {
  readonly input_tokens: number;
  readonly cache_creation_input_tokens: number;
  readonly cache_read_input_tokens: number;
  readonly output_tokens: number;
}

/** About four characters make a token. */
const BYTES_PER_TOKEN = 4;

/** A rough count of the input's tokens: of the whole body, in bytes. */
export function countInputTokens(bodyBytes: number): number {
  return Math.ceil(bodyBytes / BYTES_PER_TOKEN);
}

/**
 * What the model "says": a document when the request asks for one by JSON schema (Claude Code does so for session
 * titles), else an echo of the last thing the user said.
 */
export function answerText(request: MessagesRequest): string {
  const schema = outputSchema(request);
  if (schema !== undefined) return JSON.stringify(sampleOf(schema));
  const said = lastUserText(request.messages).trim();
  const echo = said.length > 300 ? `${said.slice(0, 300)}…` : said;
  return echo === '' ? 'Hello from the development upstream.' : `The development upstream heard: ${echo}`;
}

/** Cuts a text into deltas of about one token. */
export function tokensOf(text: string): string[] {
  return text.match(/\s*\S{1,8}/g) ?? [];
}

export function usageOf(bodyBytes: number, outputTokens: number): Usage {
  return {
    input_tokens: countInputTokens(bodyBytes),
    cache_creation_input_tokens: 0,
    cache_read_input_tokens: 0,
    output_tokens: outputTokens,
  };
}

/** A whole answer, as `stream: false` gets it. */
export function messageOf(
  request: MessagesRequest,
  tokens: readonly string[],
  usage: Usage,
  cut: boolean,
): object {
  return {
    ...emptyMessage(request, usage),
    content: [{ type: 'text', text: tokens.join('') }],
    stop_reason: cut ? 'max_tokens' : 'end_turn',
  };
}

/** The same answer as a stream: https://docs.claude.com/en/docs/build-with-claude/streaming */
export function* eventsOf(
  request: MessagesRequest,
  tokens: readonly string[],
  usage: Usage,
  cut: boolean,
): Generator<MessageEvent> {
  yield { type: 'message_start', message: emptyMessage(request, { ...usage, output_tokens: 1 }) };
  yield { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } };
  yield { type: 'ping' };
  for (const text of tokens)
    yield { type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text } };
  yield { type: 'content_block_stop', index: 0 };
  yield {
    type: 'message_delta',
    delta: { stop_reason: cut ? 'max_tokens' : 'end_turn', stop_sequence: null },
    usage,
  };
  yield { type: 'message_stop' };
}

/** The bytes of an event on the wire. */
export function encodeEvent(event: MessageEvent): string {
  return `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`;
}

function emptyMessage(request: MessagesRequest, usage: Usage): object {
  return {
    id: `msg_${randomUUID().replaceAll('-', '').slice(0, 24)}`,
    type: 'message',
    role: 'assistant',
    model: request.model,
    content: [],
    stop_reason: null,
    stop_sequence: null,
    usage: { ...usage, service_tier: 'standard' },
  };
}

function lastUserText(messages: unknown): string {
  if (!Array.isArray(messages)) return '';
  const last: unknown = messages.findLast((message) => isRecord(message) && message.role === 'user');
  const content = isRecord(last) ? last.content : undefined;
  if (typeof content === 'string') return content;
  if (!Array.isArray(content)) return '';
  // Claude Code puts reminders of its own beside what the person typed.
  const texts = content
    .filter(isRecord)
    .map((block) => (block.type === 'text' && typeof block.text === 'string' ? block.text : ''))
    .filter((text) => text !== '' && !text.startsWith('<system-reminder>'));
  return texts.at(-1) ?? '';
}

function outputSchema(request: MessagesRequest): Record<string, unknown> | undefined {
  const config = isRecord(request.output_config) ? request.output_config.format : undefined;
  const format = config ?? request.output_format;
  return isRecord(format) && isRecord(format.schema) ? format.schema : undefined;
}

/** The smallest value that a JSON schema allows, for the kinds of schema that clients send. */
function sampleOf(schema: Record<string, unknown>): unknown {
  if (schema.const !== undefined) return schema.const;
  if (Array.isArray(schema.enum)) return schema.enum[0];
  const union = schema.anyOf ?? schema.oneOf;
  if (Array.isArray(union)) return isRecord(union[0]) ? sampleOf(union[0]) : null;
  switch (schema.type) {
    case 'object': {
      const properties = isRecord(schema.properties) ? schema.properties : {};
      return Object.fromEntries(
        Object.entries(properties).map(([name, value]) => [name, isRecord(value) ? sampleOf(value) : null]),
      );
    }
    case 'array':
      return [];
    case 'number':
    case 'integer':
      return typeof schema.minimum === 'number' ? schema.minimum : 0;
    case 'boolean':
      return false;
    case 'null':
      return null;
    default:
      return 'Development session';
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
