import type { IncomingHttpHeaders } from 'node:http';
import { isObject, type BoundPart, type BoundRequest, type BoundWords, type MemberSpan } from '../request.ts';

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
  const fields = spansOf(text, parsed);
  return {
    body: Buffer.from(text),
    fields,
    words,
    tools: partsOf(text, 'tools', parsed, fields.tools),
    fallbacks: partsOf(text, 'fallbacks', parsed, fields.fallbacks),
    otherModels: [],
    headers,
  };
}

const PART_MEMBERS = ['type', 'model', 'max_uses', 'max_tokens', 'speed'] as const;

function partsOf(
  text: string,
  list: 'tools' | 'fallbacks',
  parsed: Record<string, unknown>,
  span: MemberSpan | undefined,
): BoundPart[] {
  const entries = parsed[list];
  if (span === undefined || !Array.isArray(entries)) return [];
  // One character for each byte, so that places are the same.
  const bytes = byteText(text);
  let at = span.start;
  return (entries as unknown[]).flatMap((entry, index) => {
    if (!isObject(entry)) return [];
    const json = byteText(JSON.stringify(entry));
    const start = bytes.indexOf(json, at);
    at = start + json.length;
    const members: Partial<Record<(typeof PART_MEMBERS)[number], MemberSpan>> = {};
    for (const name of PART_MEMBERS) {
      if (!Object.hasOwn(entry, name)) continue;
      const value = byteText(JSON.stringify(entry[name]));
      const valueStart = start + json.indexOf(`"${name}":${value}`) + name.length + 3;
      members[name] = { start: valueStart, end: valueStart + value.length };
    }
    return Object.keys(members).length === 0 ? [] : [{ path: `${list}.${index}`, members }];
  });
}

function byteText(text: string): string {
  return Buffer.from(text).toString('latin1');
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
