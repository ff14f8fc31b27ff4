import { isAt } from './json-text.ts';

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const LOWER_M = 0x6d;
const LOWER_U = 0x75;

/** Names to look for in JSON text, by their length. */
export interface NameTable<N extends string> {
  readonly byLength: readonly (readonly Candidate<N>[] | undefined)[];
  /** Of a name with its quotes of which every character is written as `\u0000`. */
  readonly longest: number;
}

interface Candidate<N extends string> {
  readonly name: N;
  readonly first: number;
  readonly bytes: Buffer;
}

/** @param names ASCII, each of at most {@link MAX_NAME_BYTES}. */
export function nameTable<N extends string>(names: readonly N[]): NameTable<N> {
  const longest = Math.max(...names.map(({ length }) => length));
  const byLength = Array.from({ length: longest + 1 }, (_, length) => {
    const same = names.filter((name) => name.length === length);
    return same.length === 0
      ? undefined
      : same.map((name) => ({ name, first: name.charCodeAt(0), bytes: Buffer.from(name) }));
  });
  return { byLength, longest: 6 * longest + 2 };
}

const MAX_NAME_BYTES = 32;
const decoded = Buffer.alloc(MAX_NAME_BYTES);

/**
 * Which of the names a string is, however it is spelled (`"mod\u0065l"`).
 *
 * @param start Of the opening quote.
 * @param end Behind the closing one.
 * @returns `invalid` when it is no JSON string; only noticed where it is as short as a name.
 */
export function nameAt<N extends string>(
  body: Buffer,
  start: number,
  end: number,
  table: NameTable<N>,
): N | 'invalid' | undefined {
  if (end - start > table.longest) return undefined;
  for (let i = start + 1; i < end - 1; i++) {
    if (body[i] !== BACKSLASH) continue;
    const length = decode(body, start, end);
    return length < 0 ? 'invalid' : findName(decoded, 0, length, table);
  }
  return findName(body, start + 1, end - start - 2, table);
}

/** Which of the names these bytes are, as they stand. */
export function findName<N extends string>(
  bytes: Buffer,
  at: number,
  length: number,
  { byLength }: NameTable<N>,
): N | undefined {
  const candidates = byLength[length];
  if (candidates === undefined) return undefined;
  const first = bytes[at];
  for (const candidate of candidates) {
    if (candidate.first === first && isAt(bytes, at, candidate.bytes)) return candidate.name;
  }
  return undefined;
}

/** Names as they are left where neither case nor underscores count. */
export interface FoldedNames<N extends string> {
  readonly table: NameTable<string>;
  readonly byFolded: ReadonlyMap<string, N>;
  /** As in {@link NameTable}, of the names themselves. */
  readonly longest: number;
}

/** @param names ASCII, lower case; the same as those of a table. */
export function foldedNames<N extends string>(names: readonly N[]): FoldedNames<N> {
  const byFolded = new Map(names.map((name) => [name.replaceAll('_', ''), name]));
  return { table: nameTable([...byFolded.keys()]), byFolded, longest: nameTable(names).longest };
}

/**
 * Which of the names a string may be taken for, by parsers to which `Max_Tokens` and `maxTokens` are `max_tokens`.
 *
 * @param start Of the opening quote of a string that {@link nameAt} has looked at: it is none of the names, and valid.
 * @param end Behind the closing one.
 */
export function foldedNameAt<N extends string>(
  body: Buffer,
  start: number,
  end: number,
  { table, byFolded, longest }: FoldedNames<N>,
): N | undefined {
  if (end - start > longest) return undefined;
  const length = fold(body, start + 1, end - 1);
  if (table.byLength[length] === undefined) return undefined;
  const found = findName(decoded, 0, length, table);
  return found === undefined ? undefined : byFolded.get(found);
}

/** No member of the API has a longer name, written out as `\u0000`. */
const LONGEST_MEMBER_BYTES = 128;
const MODEL = Buffer.from('model');

/**
 * Whether a member's name speaks of models (`fallback_model`, `Model`, `mod\u0065l`). Neither case nor underscores count.
 *
 * @param start Of the opening quote of a string.
 * @param end Behind the closing one.
 */
export function speaksOfModel(body: Buffer, start: number, end: number): boolean {
  if (end - start > LONGEST_MEMBER_BYTES || end - start < MODEL.length + 2) return false;
  let matched = 0;
  for (let i = start + 1; i < end - 1; i++) {
    let c = body[i] ?? 0;
    if (c === UNDERSCORE) continue;
    if (c === BACKSLASH) {
      // Of all escapes only these can be letters.
      if (body[++i] !== LOWER_U) c = 0;
      else {
        c = hexadecimal(body, i + 1, end - 1);
        i += 4;
        if (c === UNDERSCORE) continue;
        if (c > 0x7f) c = 0;
      }
    }
    c |= LOWER_CASE;
    // No beginning of the word stands within it.
    if (matched === 0 || c !== MODEL[matched]) matched = c === LOWER_M ? 1 : 0;
    else if (++matched === MODEL.length) return true;
  }
  return false;
}

/** Folds into {@link decoded}. @returns its length; {@link MAX_NAME_BYTES} + 1 when no ASCII name is left. */
function fold(body: Buffer, start: number, end: number): number {
  let length = 0;
  for (let i = start; i < end; i++) {
    let c = body[i] ?? 0;
    if (c === BACKSLASH) {
      if (body[++i] !== LOWER_U) return MAX_NAME_BYTES + 1;
      c = hexadecimal(body, i + 1, end);
      i += 4;
    } else if (c >= 0xe0) {
      c = ((c & 0x0f) << 12) | (((body[i + 1] ?? 0) & 0x3f) << 6) | ((body[i + 2] ?? 0) & 0x3f);
      i += 2;
    } else if (c >= 0xc0) {
      c = ((c & 0x1f) << 6) | ((body[i + 1] ?? 0) & 0x3f);
      i += 1;
    }
    if (c === UNDERSCORE) continue;
    if (c > 0x7f) c = LETTERS.get(c) ?? 0x80;
    else if (c >= UPPER_A && c <= UPPER_Z) c |= LOWER_CASE;
    if (c > 0x7f || length === MAX_NAME_BYTES) return MAX_NAME_BYTES + 1;
    decoded[length++] = c;
  }
  return length;
}

const UPPER_A = 0x41;
const UPPER_Z = 0x5a;
const UNDERSCORE = 0x5f;
/** What a capital letter of ASCII lacks. */
const LOWER_CASE = 0x20;
/** The letters outside of ASCII that are equal to one of ASCII where case does not count: U+0130, U+0131, U+017F, U+212A. */
const LETTERS: ReadonlyMap<number, number> = new Map([
  [0x130, 0x69],
  [0x131, 0x69],
  [0x17f, 0x73],
  [0x212a, 0x6b],
]);

/** What stands behind a backslash, and what it means. */
const ESCAPES: ReadonlyMap<number, number> = new Map(
  Object.entries({ '"': '"', '\\': '\\', '/': '/', b: '\b', f: '\f', n: '\n', r: '\r', t: '\t' }).map(
    ([escape, meaning]) => [escape.charCodeAt(0), meaning.charCodeAt(0)],
  ),
);

/**
 * Decodes into {@link decoded} what an ASCII name may be written as.
 *
 * @returns its length, {@link MAX_NAME_BYTES} + 1 when it is no such name, -1 when it is no JSON string.
 */
function decode(body: Buffer, start: number, end: number): number {
  let length = 0;
  let isName = true;
  for (let i = start + 1; i < end - 1; i++) {
    let c = body[i] ?? QUOTE;
    if (c < 0x20) return -1;
    if (c === BACKSLASH) {
      c = body[++i] ?? QUOTE;
      if (c === LOWER_U) {
        c = hexadecimal(body, i + 1, end - 1);
        if (c < 0) return -1;
        i += 4;
      } else {
        const meaning = ESCAPES.get(c);
        if (meaning === undefined) return -1;
        c = meaning;
      }
    }
    if (c > 0x7f || length === MAX_NAME_BYTES) isName = false;
    else decoded[length++] = c;
  }
  return isName ? length : MAX_NAME_BYTES + 1;
}

/** The number in four hexadecimal digits; -1 when they are none. */
function hexadecimal(body: Buffer, at: number, end: number): number {
  if (at + 4 > end) return -1;
  let value = 0;
  for (let i = at; i < at + 4; i++) {
    const c = body[i] ?? 0;
    const lower = c | 0x20;
    const digit = c >= 0x30 && c <= 0x39 ? c - 0x30 : lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
    if (digit === -1) return -1;
    value = value * 16 + digit;
  }
  return value;
}
