/** Bodies of 33 MB that somebody might send to keep a replica busy, by what they are made of. */
const BYTES = 33_000_000;
const MODEL = '"model":"claude-haiku-4-5"';
const MESSAGES = `{${MODEL},"max_tokens":10,"messages":`;
const TEXT = `${MESSAGES}[{"role":"user","content":"`;

/** As much of the unit as fits between head and tail. */
function filled(head: string, unit: string, tail: string): Buffer {
  return Buffer.from(
    head + unit.repeat(Math.floor((BYTES - head.length - tail.length) / unit.length)) + tail,
  );
}

/** So many units, each with spaces up to the whole size. */
function spaced(head: string, unit: string, count: number, tail: string): Buffer {
  const space = Math.floor((BYTES - head.length - tail.length) / count) - unit.length;
  return Buffer.from(head + (unit + ' '.repeat(space)).repeat(count) + tail);
}

const SEARCH = '{"type":"web_search_20250305","max_uses":1}';

export const HOSTILE_BODIES: Readonly<Record<string, () => Buffer>> = {
  'one text': () => filled(TEXT, 'a', '"}]}'),
  'escaped quotes': () => filled(TEXT, '\\"', '"}]}'),
  'letters and escaped quotes': () => filled(TEXT, 'a\\"', '"}]}'),
  'escaped backslashes': () => filled(TEXT, '\\\\', '"}]}'),
  'backslashes before quotes': () => filled(TEXT, '\\\\\\\\\\\\\\"', '"}]}'),
  'escaped letters': () => filled(TEXT, '\\u0061', '"}]}'),
  'short texts': () => filled(`${MESSAGES}[`, '"aa",', '1]}'),
  'texts of a line': () => filled(`${MESSAGES}[`, `"${'x'.repeat(140)}",`, '1]}'),
  'words that are counted': () => spaced(`${MESSAGES}[`, '"tool_reference",', 249_000, '1]}'),
  'the same, in escapes': () => spaced(`${MESSAGES}[`, '"\\u0069\\u006d\\u0061ge",', 249_000, '1]}'),
  'definitions of tools': () =>
    spaced(`${MESSAGES}["tool_definition",`, '{"definition":{"type":1}},', 80_000, '1]}'),
  'definitions in definitions': () =>
    filled(`${MESSAGES}["tool_definition",${'{"definition":'.repeat(900)}"`, 'a', `"${'}'.repeat(900)}]}`),
  'empty objects': () => filled(`${MESSAGES}[`, '{},', '1]}'),
  'empty objects, far apart': () => spaced(`${MESSAGES}[`, '{},', 249_000, '1]}'),
  'servers to connect': () => filled(`{${MODEL},"mcp_servers":[`, '{},', '1]}'),
  'servers to connect, far apart': () => spaced(`{${MODEL},"mcp_servers":[`, '{},', 249_000, '1]}'),
  'a long server': () => filled(`{${MODEL},"mcp_servers":[{"url":"`, 'a', '"}]}'),
  tools: () => filled(`{${MODEL},"tools":[`, '{},', '1]}'),
  'tools, far apart': () => spaced(`{${MODEL},"tools":[`, '{"name":"a"},', 120_000, '1]}'),
  'tools at the upstream': () => filled(`{${MODEL},"tools":[`, `${SEARCH},`, '1]}'),
  'a thousand of them': () => spaced(`{${MODEL},"tools":[`, `${SEARCH},`, 999, '1]}'),
  'references to all tools': () =>
    spaced(
      `{${MODEL},"tools":[${`${SEARCH},`.repeat(900)}1],"messages":[`,
      '"tool_reference",',
      240_000,
      '1]}',
    ),
  'members of a tool': () => spaced(`{${MODEL},"tools":[{`, '"\\u0061\\u0061":1,', 249_000, '"y":1}]}'),
  'a type without end': () => filled(`{${MODEL},"tools":[{"type":"`, 'a', '"}]}'),
  'a model without end': () => filled('{"model":"', '\\u0061', '"}'),
  fallbacks: () => filled(`{${MODEL},"fallbacks":[`, `{${MODEL}},`, '1]}'),
  'a number': () => filled(`{${MODEL},"max_tokens":`, '1', '}'),
  'numbers of uses': () => filled(`{${MODEL},"tools":[{"type":"web_search_20250305","max_uses":`, '1', '}]}'),
  numbers: () => spaced(`${MESSAGES}[`, '-1234567890.125e-17,', 249_000, '1]}'),
  space: () => filled(`${MESSAGES}[1,`, ' \n', '1]}'),
  'arrays in arrays': () => filled(MESSAGES, '[', ''),
  'objects in objects': () => filled(MESSAGES, '{"a":', ''),
  'as deep as may be, often': () =>
    spaced(`${MESSAGES}[`, `${'['.repeat(990)}1${']'.repeat(990)},`, 250, '1]}'),
  'members at the top': () => filled(`{${MODEL},`, '"x":1,', '"y":1}'),
  'a member many times': () => filled(`{${MODEL},`, `${MODEL},`, '"y":1}'),
  'a member twice': () => filled(`{${MODEL},"messages":"`, 'a', `",${MODEL}}`),
  'a name without end': () => filled(`{${MODEL},"`, '\\u0061', '":1}'),
  'edits of the context': () =>
    spaced(`{${MODEL},"context_management":{"edits":[`, '{"type":"clear_x_20250101"},', 120_000, '1]}}'),
  'edits that compact': () =>
    filled(`{${MODEL},"context_management":{"edits":[{"type":"clear_`, 'compac', '"}]}}'),
  'thinking budgets': () =>
    filled(`{${MODEL},"max_tokens":9,"thinking":{"a":"`, '\\"budget_tokens\\":1', '"}}'),
  betas: () => filled(`{${MODEL},"anthropic_beta":["`, 'context-1', '"]}'),
  'a place': () => filled(`{${MODEL},"inference_geo":"`, 'us', '"}'),
  'a speed': () => filled(`{${MODEL},"speed":"`, 'fast', '"}'),
  'a thread': () => filled(`{${MODEL},"thread":{"type":"create","a":"`, 'a', '"}}'),
};
