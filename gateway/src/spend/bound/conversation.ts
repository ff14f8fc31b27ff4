import { hasHiddenInput, IMAGE_TOKENS, PROMPT_OVERHEAD } from './body-bound.ts';
import { fallsBack } from './fallbacks.ts';
import { isObject, valueAt, valueOf, type BoundRequest, type MemberSpan } from './request.ts';

/** The body that an upstream measured last in a conversation. */
export interface MeasuredRequest {
  readonly request: BoundRequest;
  /** Input tokens of all kinds. */
  readonly inputTokens: number;
}

/** Messages that two bodies have in common, from the first on. */
interface SharedMessages {
  /** Offset in either body's `messages` behind the last of them. */
  readonly bytes: number;
  readonly images: number;
  readonly toolReferences: number;
  /** Bytes of thinking in them, and of that behind the last message that a person wrote. */
  readonly thinking: number;
  readonly openThinking: number;
}

/** Longer bodies are not remembered: the largest context window has some four million bytes, and one of them is parsed. */
const MAX_MEASURED_BYTES = 8 * 1024 * 1024;

/**
 * Whether the measured tokens of a request say something about its bytes, all of them: not where the upstream
 * fetches, loads or leaves out what it then counts.
 */
export function isMeasurable(request: BoundRequest): boolean {
  const { words, fields } = request;
  if (words.document > 0 || words.file_id > 0 || (words.image > 0 && words.url > 0)) return false;
  // Models count differently, and it is not known which one counted.
  if (hasHiddenInput(request) || fallsBack(request)) return false;
  if (fields.messages === undefined || request.body.length > MAX_MEASURED_BYTES) return false;
  if (fields.context_management === undefined) return true;
  const management = valueOf(request, 'context_management');
  if (management === null) return true;
  const edits: unknown = isObject(management) ? management['edits'] : undefined;
  return (
    Array.isArray(edits) &&
    edits.every(
      (edit) => isObject(edit) && /^clear_thinking_/.test(String(edit['type'])) && edit['keep'] === 'all',
    )
  );
}

/**
 * Upper bound of a request's input, from a measured one: what was measured, and one token for each byte that is new or
 * that the upstream may not have counted then and may count now. A byte that both have in common is only trusted where
 * it must mean the same in both: whole messages at the beginning, equal tools, the texts of the system prompt. So
 * somebody who turns the data of an image, which hardly counts, into text gains nothing.
 */
export function boundFromMeasured(measured: MeasuredRequest, next: BoundRequest): number {
  const { request: last, inputTokens } = measured;
  const shared = sharedMessages(last, next);
  const restIsEqual = equalRest(last, next);
  const tools = lengthOf(next.fields.tools);
  return (
    inputTokens +
    PROMPT_OVERHEAD +
    (lengthOf(next.fields.messages) - shared.bytes) +
    // Thinking is left out behind the next message of a person, unless the settings say otherwise.
    (restIsEqual ? shared.openThinking : shared.thinking) +
    (next.words.image - shared.images) * IMAGE_TOKENS +
    (next.words.tool_reference - shared.toolReferences) * tools +
    (equalMember(last, next, 'tools') ? 0 : tools) +
    newSystemBytes(last, next) +
    (restIsEqual ? 0 : restLength(next))
  );
}

function sharedMessages(last: BoundRequest, next: BoundRequest): SharedMessages {
  const a = bytesOf(last, 'messages');
  const b = bytesOf(next, 'messages');
  const messages = valueAt(last.body, last.fields.messages, MAX_MEASURED_BYTES);
  const shared = {
    count: 0,
    before: 0,
    bytes: 0,
    images: 0,
    toolReferences: 0,
    thinking: 0,
    openThinking: 0,
  };
  if (!Array.isArray(messages)) return shared;
  const common = commonPrefix(a, b);
  let at = 1;
  for (const message of messages as unknown[]) {
    // Where messages are written as JSON.stringify does, it says where each of them ends.
    const text = JSON.stringify(message);
    const end = at + Buffer.byteLength(text);
    if (end > common || a.toString('utf8', at, end) !== text) break;
    shared.bytes = end;
    tally(message, shared);
    at = end + 1;
  }
  return shared;
}

function tally(message: unknown, into: { -readonly [K in keyof SharedMessages]: SharedMessages[K] }): void {
  const content: unknown = isObject(message) ? message['content'] : undefined;
  const blocks: readonly unknown[] = Array.isArray(content) ? content : [];
  if (isObject(message) && message['role'] === 'user' && !blocks.some(isToolResult)) into.openThinking = 0;
  for (const block of blocks) {
    const type = typeOf(block);
    if (type === 'thinking' || type === 'redacted_thinking') {
      const bytes = Buffer.byteLength(JSON.stringify(block));
      into.thinking += bytes;
      into.openThinking += bytes;
    }
    const inner: unknown = isObject(block) && isToolResult(block) ? block['content'] : undefined;
    for (const part of [block, ...(Array.isArray(inner) ? (inner as unknown[]) : [])]) {
      if (typeOf(part) === 'image') into.images++;
      else if (typeOf(part) === 'tool_reference') into.toolReferences++;
    }
  }
}

function isToolResult(block: unknown): boolean {
  return typeOf(block) === 'tool_result';
}

function typeOf(block: unknown): unknown {
  return isObject(block) ? block['type'] : undefined;
}

/** Bytes of the system prompt that are new, and those around its texts, which were no tokens before. */
function newSystemBytes(last: BoundRequest, next: BoundRequest): number {
  const a = bytesOf(last, 'system');
  const b = bytesOf(next, 'system');
  if (a.equals(b)) return 0;
  const prefix = commonPrefix(a, b);
  const suffix = commonSuffix(a.subarray(prefix), b.subarray(prefix));
  return Math.min(
    b.length,
    b.length -
      prefix -
      suffix +
      a.length -
      systemTextBytes(valueAt(last.body, last.fields.system, MAX_MEASURED_BYTES)),
  );
}

function systemTextBytes(system: unknown): number {
  if (typeof system === 'string') return Buffer.byteLength(JSON.stringify(system));
  if (!Array.isArray(system)) return 0;
  let bytes = 0;
  for (const block of system as unknown[]) {
    if (isObject(block) && block['type'] === 'text' && typeof block['text'] === 'string') {
      bytes += Buffer.byteLength(JSON.stringify(block['text']));
    }
  }
  return bytes;
}

const APART = ['messages', 'system', 'tools'] as const;

/** Whether everything but messages, system prompt and tools is the same, byte for byte and in the same order. */
function equalRest(a: BoundRequest, b: BoundRequest): boolean {
  const inA = gaps(a);
  const inB = gaps(b);
  return (
    inA.length === inB.length &&
    inA.every(({ before, bytes }, i) => before === inB[i]?.before && inB[i]?.bytes.equals(bytes))
  );
}

function restLength(request: BoundRequest): number {
  return gaps(request).reduce((sum, { bytes }) => sum + bytes.length, 0);
}

/** What stands between the members that are compared by themselves. */
function gaps({ body, fields }: BoundRequest): { readonly before: string; readonly bytes: Buffer }[] {
  const members = APART.flatMap((name) => {
    const span = fields[name];
    return span === undefined ? [] : [{ name, span }];
  }).sort((a, b) => a.span.start - b.span.start);
  let at = 0;
  const found: { before: string; bytes: Buffer }[] = [];
  for (const { name, span } of members) {
    found.push({ before: name, bytes: body.subarray(at, span.start) });
    at = span.end;
  }
  found.push({ before: '', bytes: body.subarray(at) });
  return found;
}

function equalMember(a: BoundRequest, b: BoundRequest, field: (typeof APART)[number]): boolean {
  return bytesOf(a, field).equals(bytesOf(b, field));
}

function bytesOf({ body, fields }: BoundRequest, field: (typeof APART)[number]): Buffer {
  const span = fields[field];
  return span === undefined ? body.subarray(0, 0) : body.subarray(span.start, span.end);
}

function lengthOf(span: MemberSpan | undefined): number {
  return span === undefined ? 0 : span.end - span.start;
}

/** Compared natively, in pieces of this size. */
const PIECE = 4096;

function commonPrefix(a: Buffer, b: Buffer): number {
  const most = Math.min(a.length, b.length);
  let at = 0;
  while (at + PIECE <= most && a.compare(b, at, at + PIECE, at, at + PIECE) === 0) at += PIECE;
  while (at < most && a[at] === b[at]) at++;
  return at;
}

function commonSuffix(a: Buffer, b: Buffer): number {
  const most = Math.min(a.length, b.length);
  let length = 0;
  while (length < most && a[a.length - 1 - length] === b[b.length - 1 - length]) length++;
  return length;
}
