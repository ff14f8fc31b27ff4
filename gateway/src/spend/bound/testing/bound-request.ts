import type { IncomingHttpHeaders } from 'node:http';
import type { BoundRequest, BoundWords } from '../request.ts';

type Words = { -readonly [Word in keyof BoundWords]: number };

/**
 * A request of this body, found out by `JSON.parse`: rooms do not import each other, so tests here have no scanner.
 * The body may be any JSON text; members are located by searching for what `JSON.stringify` writes.
 */
export function boundRequest(value: unknown, headers: IncomingHttpHeaders = {}): BoundRequest {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  const parsed = JSON.parse(text) as Record<string, unknown>;
  const words: Words = {
    '1h': 0,
    url: 0,
    image: 0,
    file_id: 0,
    document: 0,
    cache_control: 0,
    tool_reference: 0,
  };
  countWords(parsed, words);
  return { body: Buffer.from(text), fields: spansOf(text, parsed), words, headers };
}

function spansOf(text: string, parsed: Record<string, unknown>): BoundRequest['fields'] {
  const fields: Record<string, { start: number; end: number }> = {};
  let at = 1;
  for (const [name, value] of Object.entries(parsed)) {
    const member = JSON.stringify(value);
    const start = text.indexOf(`${JSON.stringify(name)}:${member}`, at);
    if (start === -1) throw new Error(`write ${name} as JSON.stringify does`);
    const valueStart = start + JSON.stringify(name).length + 1;
    at = valueStart + member.length;
    fields[name] = {
      start: Buffer.byteLength(text.slice(0, valueStart)),
      end: Buffer.byteLength(text.slice(0, at)),
    };
  }
  return fields;
}

function countWords(value: unknown, words: Words): void {
  if (typeof value === 'string') note(value, words);
  else if (typeof value === 'object' && value !== null) {
    for (const [name, member] of Object.entries(value)) {
      if (!Array.isArray(value)) note(name, words);
      countWords(member, words);
    }
  }
}

function note(text: string, words: Words): void {
  if (Object.hasOwn(words, text)) words[text as keyof Words]++;
}
