/**
 * Finds the few top-level members that the gateway reads in a JSON body, without parsing the body: a 340 KB
 * conversation costs a small part of what `JSON.parse` does, and its bytes stay as they came (bench/src/body-scan.ts).
 *
 * Exact about structure: brackets, commas, colons, literals and numbers are checked at every depth (RFC 8259), so a
 * body is taken if and only if `JSON.parse` takes it, with one exception. What stands *inside* strings that the
 * gateway does not read (raw control characters, unknown escapes) is skipped; it cannot change which member is
 * which, and the upstream answers for it. Members that are read are always decoded by `JSON.parse`.
 */

/** The members that {@link scanBody} looks for. */
const FIELDS = [
  'model',
  'max_tokens',
  'stream',
  'tags',
  'messages',
  'system',
  'tools',
  'speed',
  'thinking',
  'context_management',
  'mcp_servers',
  'anthropic_beta',
] as const;
export type BodyField = (typeof FIELDS)[number];

/** Strings that are counted wherever they stand, as a member's name or as a value: they tell what input may cost. */
const WORDS = ['1h', 'url', 'image', 'file_id', 'document', 'cache_control', 'tool_reference'] as const;
export type BodyWord = (typeof WORDS)[number];

/** Where a member stands in the body, in bytes: `[keyStart, end)` with its key, `[start, end)` without. */
export interface Span {
  readonly keyStart: number;
  readonly start: number;
  readonly end: number;
}

export interface ScannedBody {
  /** The last member of each name, as `JSON.parse` would take it. */
  readonly fields: Readonly<Partial<Record<BodyField, Span>>>;
  /** One of the names that stands there more than once: parsers may disagree on which of them counts. */
  readonly doubled: BodyField | undefined;
  /** How often each word stands there, however it is spelled. */
  readonly words: Readonly<Record<BodyWord, number>>;
}

/** Why a body is refused. */
export type ScanFailure = 'invalid_json' | 'not_an_object';

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_BRACKET = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_BRACKET = 0x5d;
const LOWER_U = 0x75;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

const TRUE = Buffer.from('true');
const FALSE = Buffer.from('false');
const NULL = Buffer.from('null');

/** Strings are mostly keys and short words, which are looked at byte by byte. */
const SHORT_STRING = 16;
/** No two words are of one length; none is longer than {@link SHORT_STRING} less the quote. */
const WORD_OF_LENGTH: readonly ({ readonly word: BodyWord; readonly bytes: Buffer } | undefined)[] =
  Array.from({ length: SHORT_STRING }, (_, length) => {
    const word = WORDS.find((candidate) => candidate.length === length);
    return word === undefined ? undefined : { word, bytes: Buffer.from(word) };
  });
/** A word of which every character is written as `\u0000`. */
const LONGEST_ESCAPED_WORD = 6 * Math.max(...WORDS.map(({ length }) => length));
/** How far a quote is searched for word by word: a native search pays for its call behind some hundred bytes. */
const NEAR_WORDS = 64;
/** Where the first byte of a word is its lowest; elsewhere every search is a native one. */
const LITTLE_ENDIAN = new Uint8Array(new Int32Array([1]).buffer)[0] === 1;

/** Scans a whole body (UTF-8 JSON text, RFC 8259; a byte order mark is not JSON). Never throws. */
export function scanBody(body: Buffer): ScannedBody | ScanFailure {
  const scanner = new Scanner(body);
  const start = skipSpace(body, 0);
  if (body[start] === OPEN_BRACE) return scanner.object(start);
  const end = scanner.skipValue(start);
  return end !== -1 && skipSpace(body, end) === body.length ? 'not_an_object' : 'invalid_json';
}

/**
 * Decodes a member's value.
 *
 * @throws SyntaxError when the value is a string with a bad escape or a raw control character.
 */
export function readField(body: Buffer, span: Span): unknown {
  return JSON.parse(body.toString('utf8', span.start, span.end)) as unknown;
}

/** A copy of the body in which one value is replaced by another JSON text; all other bytes stay. */
export function replaceField(body: Buffer, span: Span, json: string): Buffer {
  const value = Buffer.from(json);
  const result = Buffer.allocUnsafe(body.length - (span.end - span.start) + value.length);
  body.copy(result, 0, 0, span.start);
  value.copy(result, span.start);
  body.copy(result, span.start + value.length, span.end);
  return result;
}

/** Positions are offsets into the body; -1 says that there is no JSON where it should be. */
class Scanner {
  readonly #body: Buffer;
  /** The memory below the body, word by word. */
  readonly #words: Int32Array;
  readonly #counts: Record<BodyWord, number> = {
    '1h': 0,
    url: 0,
    image: 0,
    file_id: 0,
    document: 0,
    cache_control: 0,
    tool_reference: 0,
  };
  /** Whether the container at each depth is an object (1) or an array (0). */
  #containers = new Uint8Array(64);

  constructor(body: Buffer) {
    this.#body = body;
    this.#words = new Int32Array(body.buffer, 0, LITTLE_ENDIAN ? body.buffer.byteLength >> 2 : 0);
  }

  /** @param at Offset of the opening brace of the outermost object. */
  object(at: number): ScannedBody | ScanFailure {
    const body = this.#body;
    const words = this.#counts;
    const fields: Partial<Record<BodyField, Span>> = {};
    let doubled: BodyField | undefined;
    let i = skipSpace(body, at + 1);
    if (body[i] === CLOSE_BRACE) {
      return skipSpace(body, i + 1) === body.length ? { fields, doubled, words } : 'invalid_json';
    }
    for (;;) {
      if (body[i] !== QUOTE) return 'invalid_json';
      const keyStart = i;
      const keyEnd = this.#string(i);
      if (keyEnd === -1) return 'invalid_json';
      i = skipSpace(body, keyEnd);
      if (body[i] !== COLON) return 'invalid_json';
      const start = skipSpace(body, i + 1);
      const end = this.skipValue(start);
      if (end === -1) return 'invalid_json';

      const name = fieldName(body, keyStart, keyEnd);
      if (name === 'invalid') return 'invalid_json';
      if (name !== undefined) {
        if (fields[name] !== undefined) doubled ??= name;
        fields[name] = { keyStart, start, end };
      }

      i = skipSpace(body, end);
      const next = body[i];
      if (next === COMMA) i = skipSpace(body, i + 1);
      else if (next === CLOSE_BRACE) {
        return skipSpace(body, i + 1) === body.length ? { fields, doubled, words } : 'invalid_json';
      } else return 'invalid_json';
    }
  }

  /** @returns the offset behind the value, whatever it nests; no recursion, so depth costs one byte a level. */
  skipValue(at: number): number {
    const body = this.#body;
    let i = at;
    let depth = 0;
    for (;;) {
      // Here a value must begin.
      const first = body[i];
      if (first === QUOTE) i = this.#string(i);
      else if (first === OPEN_BRACE || first === OPEN_BRACKET) {
        const isObject = first === OPEN_BRACE;
        i = skipSpace(body, i + 1);
        if (body[i] !== (isObject ? CLOSE_BRACE : CLOSE_BRACKET)) {
          this.#push(depth++, isObject);
          if (isObject && (i = this.#key(i)) === -1) return -1;
          continue;
        }
        i++;
      } else i = skipScalar(body, i);
      if (i === -1) return -1;

      // Here a value has ended: leave what ends with it, up to the next value.
      for (;;) {
        if (depth === 0) return i;
        i = skipSpace(body, i);
        const isObject = this.#containers[depth - 1] === 1;
        const next = body[i];
        if (next === COMMA) {
          i = skipSpace(body, i + 1);
          if (isObject && (i = this.#key(i)) === -1) return -1;
          break;
        }
        if (next !== (isObject ? CLOSE_BRACE : CLOSE_BRACKET)) return -1;
        depth--;
        i++;
      }
    }
  }

  /** From a key's opening quote to where its value begins. */
  #key(at: number): number {
    const body = this.#body;
    if (body[at] !== QUOTE) return -1;
    const end = this.#string(at);
    if (end === -1) return -1;
    const colon = skipSpace(body, end);
    return body[colon] === COLON ? skipSpace(body, colon + 1) : -1;
  }

  /** From an opening quote to behind the closing one. */
  #string(at: number): number {
    const body = this.#body;
    let i = at + 1;
    let escapesUnicode = false;
    const near = Math.min(i + SHORT_STRING, body.length);
    while (i < near) {
      const c = body[i];
      if (c === QUOTE) {
        if (escapesUnicode) this.#countEscaped(at, i + 1);
        else this.#count(at + 1, i);
        return i + 1;
      }
      if (c === BACKSLASH) {
        escapesUnicode ||= body[i + 1] === LOWER_U;
        i += 2;
      } else i++;
    }
    const end = skipLongString(body, this.#words, i);
    // A word's first escape stands within its length, so it was seen above.
    if (escapesUnicode && end !== -1) this.#countEscaped(at, end);
    return end;
  }

  #count(start: number, end: number): void {
    const candidate = WORD_OF_LENGTH[end - start];
    if (candidate !== undefined && isAt(this.#body, start, candidate.bytes)) this.#counts[candidate.word]++;
  }

  #countEscaped(start: number, end: number): void {
    if (end - start > LONGEST_ESCAPED_WORD + 2) return;
    try {
      const text: unknown = JSON.parse(this.#body.toString('utf8', start, end));
      const word = WORDS.find((candidate) => candidate === text);
      if (word !== undefined) this.#counts[word]++;
    } catch {
      // No JSON string, and so no word.
    }
  }

  #push(depth: number, isObject: boolean): void {
    if (depth === this.#containers.length) {
      const grown = new Uint8Array(depth * 2);
      grown.set(this.#containers);
      this.#containers = grown;
    }
    this.#containers[depth] = isObject ? 1 : 0;
  }
}

function skipSpace(body: Buffer, at: number): number {
  let i = at;
  for (;;) {
    const c = body[i];
    if (c !== 0x20 && c !== 0x0a && c !== 0x0d && c !== 0x09) return i;
    i++;
  }
}

/**
 * The rest of a string, from a place that is outside any escape. Source code in JSON has an escaped quote every few
 * bytes, where a native search for each would cost more than parsing: so while quotes come thick the body is looked
 * at four bytes at a time, and only what is farther away is left to `indexOf`.
 */
function skipLongString(body: Buffer, words: Int32Array, from: number): number {
  const base = body.byteOffset;
  const lastWord = Math.min((base + body.length) >> 2, words.length);
  let i = from;
  for (;;) {
    // To the next word, byte by byte; words are aligned in the memory below the body.
    for (; ((base + i) & 3) !== 0; i++) {
      if (i >= body.length) return -1;
      if (body[i] === QUOTE && !isEscaped(body, i, from)) return i + 1;
    }
    let stop = 0;
    let word = (base + i) >> 2;
    do {
      stop = Math.min(word + NEAR_WORDS, lastWord);
      word = wordWithQuote(words, word, stop);
      if (word >= stop) break;
      for (let marks = quotesIn(words[word] ?? 0); marks !== 0; marks &= marks - 1) {
        const quote = (word << 2) + ((31 - Math.clz32(marks & -marks)) >> 3) - base;
        if (body[quote] === QUOTE && !isEscaped(body, quote, from)) return quote + 1;
      }
      word++;
    } while (word < lastWord);
    const quote = body.indexOf(QUOTE, (word << 2) - base);
    if (quote === -1) return -1;
    if (!isEscaped(body, quote, from)) return quote + 1;
    i = quote + 1;
  }
}

/** The first word of `[from, stop)` that has a quote in it, or `stop`. On its own, since it is the inner loop. */
function wordWithQuote(words: Int32Array, from: number, stop: number): number {
  let word = from;
  while (word < stop && quotesIn(words[word] ?? 0) === 0) word++;
  return word;
}

/** Marks the quotes among four bytes: the lowest mark is right, higher ones may not be (Mycroft's test for zeros). */
function quotesIn(word: number): number {
  const x = word ^ 0x22222222;
  return ((x - 0x01010101) | 0) & ~x & 0x80808080;
}

/** Whether an odd run of backslashes precedes. @param floor Where no escape is open. */
function isEscaped(body: Buffer, at: number, floor: number): boolean {
  let run = at;
  while (run > floor && body[run - 1] === BACKSLASH) run--;
  return ((at - run) & 1) === 1;
}

/** From the first byte of a number, `true`, `false` or `null` to behind its last. */
function skipScalar(body: Buffer, at: number): number {
  const first = body[at];
  if (first === 0x74) return isAt(body, at, TRUE) ? at + 4 : -1;
  if (first === 0x66) return isAt(body, at, FALSE) ? at + 5 : -1;
  if (first === 0x6e) return isAt(body, at, NULL) ? at + 4 : -1;
  return skipNumber(body, at);
}

function isAt(body: Buffer, at: number, word: Buffer): boolean {
  for (let i = 0; i < word.length; i++) if (body[at + i] !== word[i]) return false;
  return true;
}

function skipNumber(body: Buffer, at: number): number {
  let i = body[at] === 0x2d ? at + 1 : at;
  if (body[i] === 0x30) i++;
  else if ((i = skipDigits(body, i)) === -1) return -1;
  if (body[i] === 0x2e && (i = skipDigits(body, i + 1)) === -1) return -1;
  if (body[i] === 0x65 || body[i] === 0x45) {
    i++;
    if (body[i] === 0x2b || body[i] === 0x2d) i++;
    return skipDigits(body, i);
  }
  return i;
}

/** At least one digit. */
function skipDigits(body: Buffer, at: number): number {
  let i = at;
  for (;;) {
    const c = body[i];
    if (c === undefined || c < 0x30 || c > 0x39) return i === at ? -1 : i;
    i++;
  }
}

/** Which field a top-level key names; keys may be spelled with escapes (`"mod\u0065l"`). */
function fieldName(body: Buffer, start: number, end: number): BodyField | 'invalid' | undefined {
  const length = end - start - 2;
  for (let i = start + 1; i < end - 1; i++) {
    if (body[i] !== BACKSLASH) continue;
    try {
      const key: unknown = JSON.parse(body.toString('utf8', start, end));
      return FIELDS.find((field) => field === key);
    } catch {
      return 'invalid';
    }
  }
  for (const field of FIELDS) {
    if (field.length === length && body.toString('latin1', start + 1, end - 1) === field) return field;
  }
  return undefined;
}
