/** Answers in the shape of the Messages API, made up. */

export type StreamEvent = { readonly type: string } & Readonly<Record<string, unknown>>;

export const OPENING_USAGE = {
  input_tokens: 1000,
  cache_creation_input_tokens: 0,
  cache_read_input_tokens: 0,
  cache_creation: { ephemeral_5m_input_tokens: 0, ephemeral_1h_input_tokens: 0 },
  output_tokens: 1,
  service_tier: 'standard',
  inference_geo: 'not_available',
};

export function messageStart(usage: unknown = OPENING_USAGE): StreamEvent {
  return {
    type: 'message_start',
    message: {
      id: 'msg_01XFDUDYJgAACzvnptvVoYEL',
      type: 'message',
      role: 'assistant',
      model: 'claude-opus-4-8',
      content: [],
      stop_reason: null,
      stop_sequence: null,
      usage,
    },
  };
}

export function blockStart(block: Record<string, unknown> = { type: 'text', text: '' }): StreamEvent {
  return { type: 'content_block_start', index: 0, content_block: block };
}

export function delta(text: string, type = 'text_delta', member = 'text'): StreamEvent {
  return { type: 'content_block_delta', index: 0, delta: { type, [member]: text } };
}

export const BLOCK_STOP: StreamEvent = { type: 'content_block_stop', index: 0 };
export const PING: StreamEvent = { type: 'ping' };

export function messageDelta(usage: unknown): StreamEvent {
  return { type: 'message_delta', delta: { stop_reason: 'end_turn', stop_sequence: null }, usage };
}

export const MESSAGE_STOP: StreamEvent = { type: 'message_stop' };

/** A turn with thinking, text, a tool and a web search, as Claude Code gets them. */
export const LONG_TURN: readonly StreamEvent[] = [
  messageStart({
    ...OPENING_USAGE,
    input_tokens: 12,
    cache_creation_input_tokens: 2051,
    cache_read_input_tokens: 48_211,
    cache_creation: { ephemeral_5m_input_tokens: 1000, ephemeral_1h_input_tokens: 1051 },
  }),
  blockStart({ type: 'thinking', thinking: '', signature: '' }),
  PING,
  delta('The user wants the tests to pass.\nFirst I read "a.ts".', 'thinking_delta', 'thinking'),
  delta('EqQBCgIYAhIM1gbcDa9GJwZA2b3hGgxBdjrkzLoky3dl1pkiMOYds', 'signature_delta', 'signature'),
  BLOCK_STOP,
  blockStart(),
  delta('Größe: 字 und 😀, '),
  delta('C:\\temp\\"quoted"\u2028'),
  delta(''),
  BLOCK_STOP,
  blockStart({ type: 'server_tool_use', id: 'srvtoolu_1', name: 'web_search', input: {} }),
  delta('{"query": "usage of tokens"}', 'input_json_delta', 'partial_json'),
  BLOCK_STOP,
  blockStart({
    type: 'web_search_tool_result',
    tool_use_id: 'srvtoolu_1',
    content: [{ type: 'web_search_result', title: '"usage":{"output_tokens":9}', encrypted_content: 'Eo8C' }],
  }),
  BLOCK_STOP,
  blockStart({ type: 'tool_use', id: 'toolu_1', name: 'Read', input: {} }),
  delta('{"file_pa', 'input_json_delta', 'partial_json'),
  delta('th": "/a/b.ts"}', 'input_json_delta', 'partial_json'),
  {
    type: 'content_block_delta',
    index: 4,
    delta: { type: 'citations_delta', citation: { type: 'char_location', cited_text: 'not billed' } },
  },
  BLOCK_STOP,
  {
    type: 'message_delta',
    delta: { stop_reason: 'tool_use', stop_sequence: null, container: null },
    usage: {
      input_tokens: 12,
      cache_creation_input_tokens: 2051,
      cache_read_input_tokens: 48_211,
      output_tokens: 503,
      server_tool_use: { web_search_requests: 1, web_fetch_requests: 0 },
    },
    context_management: { applied_edits: [] },
  },
  MESSAGE_STOP,
];

const DEEP = JSON.parse(`${'['.repeat(40)}${']'.repeat(40)}`) as unknown;

/** A whole answer that was not streamed. */
export function message(usage: unknown, text = 'hello'): Record<string, unknown> {
  return {
    id: 'msg_01XFDUDYJgAACzvnptvVoYEL',
    type: 'message',
    role: 'assistant',
    model: 'claude-opus-4-8',
    content: [
      { type: 'text', text },
      {
        type: 'tool_use',
        id: 'toolu_1',
        name: 'Read',
        input: { usage: { output_tokens: 7 }, list: [[], {}, DEEP] },
      },
    ],
    stop_reason: 'end_turn',
    stop_sequence: null,
    usage,
    context_management: null,
  };
}

/** How a stream may be written without meaning anything else. */
export interface Style {
  readonly lineEnd: '\n' | '\r\n' | '\r';
  readonly eventNames: boolean;
  readonly space: string;
  /** Indentation of the JSON, which then takes many `data` lines. */
  readonly indent: number;
  /** Blanks before the last brace. */
  readonly padding: number;
  readonly reversed: boolean;
}

export const PLAIN: Style = {
  lineEnd: '\n',
  eventNames: true,
  space: ' ',
  indent: 0,
  padding: 0,
  reversed: false,
};

export function writeStream(events: readonly StreamEvent[], style: Style = PLAIN): string {
  return events.map((event) => writeEvent(event, style)).join('');
}

export function writeEvent(event: StreamEvent, style: Style = PLAIN): string {
  const ordered = style.reversed ? Object.fromEntries(Object.entries(event).toReversed()) : event;
  const json = JSON.stringify(ordered, null, style.indent).replace(/\}$/, ' '.repeat(style.padding) + '}');
  const lines = json.split('\n').map((line) => `data:${style.space}${line}`);
  if (style.eventNames) lines.unshift(`event:${style.space}${event.type}`);
  return [...lines, '', ''].join(style.lineEnd);
}
