/**
 * Finds the few members that the gateway reads in a JSON body, without parsing the body: a 340 KB conversation costs a
 * small part of what `JSON.parse` does, and its bytes stay as they came (bench/src/body-scan.ts).
 *
 * Exact about structure: brackets, commas, colons, literals and numbers are checked at every depth (RFC 8259), so a
 * body is taken if and only if `JSON.parse` takes it, with two exceptions. What stands *inside* strings that the
 * gateway does not read (raw control characters, unknown escapes) is skipped; it cannot change which member is
 * which, and the upstream answers for it. Members that are read are always decoded by `JSON.parse`. And there are
 * limits, far beyond what clients send, which keep the work per byte the same whatever the body.
 */
import { skipLongString, skipScalar, skipSpace, wordsBelow } from './json-text.ts';
import { findName, foldedNameAt, foldedNames, nameAt, nameTable, speaksOfModel } from './member-names.ts';

// Not imported: the engine reads an imported constant anew each time, which is a tenth of all that a scan takes.
const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_BRACKET = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_BRACKET = 0x5d;
const LOWER_N = 0x6e;
const LOWER_U = 0x75;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

/** The members that {@link scanBody} looks for. */
const FIELDS = [
  'model',
  'max_tokens',
  'stream',
  'tags',
  'messages',
  'system',
  'tools',
  'tool_choice',
  'speed',
  'thinking',
  'cache_control',
  'compaction',
  'container',
  'context_management',
  'fallbacks',
  'inference_geo',
  'mcp_servers',
  'metadata',
  'output_config',
  'output_format',
  'thread',
  'anthropic_beta',
] as const;
export type BodyField = (typeof FIELDS)[number];
const FIELD_KEYS = nameTable(FIELDS);
const FOLDED_FIELDS = foldedNames(FIELDS);

/** Strings that are counted wherever they stand, as a member's name or as a value: they tell what input may cost. */
const WORDS = ['1h', 'url', 'image', 'file_id', 'document', 'cache_control', 'tool_reference'] as const;
export type BodyWord = (typeof WORDS)[number];

/** Where a member stands in the body, in bytes: `[keyStart, end)` with its key, `[start, end)` without. */
export interface Span {
  readonly keyStart: number;
  readonly start: number;
  readonly end: number;
}

/** What is looked for in a tool, and in an entry of `fallbacks`. */
const PART_MEMBERS = ['type', 'model', 'max_uses', 'max_tokens', 'speed'] as const;
export type PartMember = (typeof PART_MEMBERS)[number];
const PART_KEYS = nameTable(PART_MEMBERS);
const FOLDED_PART_MEMBERS = foldedNames(PART_MEMBERS);

/** A part of the request that may ask for work of its own: a tool that says its type, or an entry of `fallbacks`. */
export interface RequestPart {
  /** Where it stands, for people: `tools.3`, `fallbacks.0`, or `tool_definition` for a tool in a message. */
  readonly path: string;
  readonly members: Readonly<Partial<Record<PartMember, Span>>>;
  /** Of a tool in a message: a member besides that has a name that speaks of models, or one within that has. */
  readonly namesModel?: string;
}

export interface ScannedBody {
  /** The last member of each name, as `JSON.parse` would take it. */
  readonly fields: Readonly<Partial<Record<BodyField, Span>>>;
  /**
   * A member that is looked for and stands there more than once, by its path (`model`, `tools.3.max_uses`): parsers
   * may disagree on which of them counts.
   */
  readonly doubled: string | undefined;
  /**
   * A member that is looked for, by its path, in a spelling of its own (`Model`, `maxTokens`): not the same to the
   * gateway, and the same to parsers that ignore case or underscores.
   */
  readonly misspelled: string | undefined;
  /**
   * What cannot be looked at, by its path: tools that are no list, an entry of `tools` or `fallbacks` that is no object, and
   * a fallback that does not name one model.
   */
  readonly unreadable: string | undefined;
  /**
   * A member, by its path as far as it is known, that has `model` in its name (`tool_choice.model`, `tools.3.fallback_model`), or
   * the top-level member that has it within and is not known: it may choose a model that the policy does not get to see.
   */
  readonly namesModel: string | undefined;
  /** Tools that say their type or have a member besides that matters, in `tools` and in messages. */
  readonly tools: readonly RequestPart[];
  /** The entries of `fallbacks`, where that is a list. */
  readonly fallbacks: readonly RequestPart[];
  /** How often each word stands there, however it is spelled. */
  readonly words: Readonly<Record<BodyWord, number>>;
}

/** Why a body is refused. */
export type ScanFailure =
  'invalid_json' | 'not_an_object' | 'too_deep' | 'too_many_values' | 'too_many_members';

/** Levels of nesting. The API itself takes a few hundred at most. */
const MAX_DEPTH = 1000;
/** Values and members in a body. A conversation that fills the largest context window has some ten thousand. */
const MAX_VALUES = 250_000;
/** Members at the top level, where the API knows some thirty. */
const MAX_TOP_LEVEL_MEMBERS = 200;
/** Tools that run at the upstream, entries of `fallbacks`, and tools in messages, each. */
const MAX_PARTS = 1000;

export const SCAN_LIMITS = {
  depth: MAX_DEPTH,
  values: MAX_VALUES,
  topLevelMembers: MAX_TOP_LEVEL_MEMBERS,
  parts: MAX_PARTS,
} as const;

/**
 * Where members may be called what they like, by how deep below the value they stand: schemas, examples, labels, what a tool was
 * called with. Everywhere else such a name is looked at. Absent: the whole value.
 */
interface Watch {
  readonly from: number;
  readonly to: number;
}
const ALL: Watch = { from: 1, to: Infinity };
const NONE: Watch = { from: 1, to: 0 };
/** Of a message and of a block in its content; below that is what tools were called with and what they answered. */
const OF_MESSAGES: Watch = { from: 1, to: 4 };
/** Settings of tools, by the name of each. */
const BY_TOOL: Watch = { from: 2, to: Infinity };

/** Members of the outermost object of which not {@link ALL} is watched, unless they are walked through. */
const WATCHED: Readonly<Partial<Record<BodyField, Watch>>> = { messages: OF_MESSAGES, tags: NONE };
/** Members of a tool, likewise. Longer names are of no interest. */
const FREE_TOOL_MEMBERS = nameTable(['input_schema', 'input_examples', 'configs']);
/** Members of members that have a schema in them (`output_config.format.schema`, `output_format.schema`). */
const SCHEMA_MEMBERS = nameTable(['format', 'schema']);

/** What is looked for beside the words. */
const MARKS = ['model', 'definition', 'tool_definition'] as const;
type Mark = (typeof MARKS)[number];
const STRINGS = nameTable([...WORDS, ...MARKS]);

/** Strings are mostly keys and short words, which are looked at byte by byte. No word is longer, less the quote. */
const SHORT_STRING = 16;

/** Scans a whole body (UTF-8 JSON text, RFC 8259; a byte order mark is not JSON). Never throws. */
export function scanBody(body: Buffer): ScannedBody | ScanFailure {
  const scanner = new Scanner(body);
  const start = skipSpace(body, 0);
  if (body[start] === OPEN_BRACE) return scanner.object(start);
  const end = scanner.skipValue(start);
  if (end === -1) return scanner.failure;
  return skipSpace(body, end) === body.length ? 'not_an_object' : 'invalid_json';
}

/**
 * Decodes a member's value.
 *
 * @throws SyntaxError when the value is a string with a bad escape or a raw control character.
 */
export function readField(body: Buffer, span: Pick<Span, 'start' | 'end'>): unknown {
  return JSON.parse(body.toString('utf8', span.start, span.end)) as unknown;
}

/** Whether the container at each depth is an object (1) or an array (0). One for all: no scan waits for anything. */
const containers = new Uint8Array(MAX_DEPTH);

/** Positions are offsets into the body; -1 says that there is no JSON where it should be, or that a limit was met. */
class Scanner {
  /** Why a position was -1. */
  failure: ScanFailure = 'invalid_json';
  readonly #body: Buffer;
  readonly #memory: Int32Array;
  readonly #counts: Record<BodyWord, number> = {
    '1h': 0,
    url: 0,
    image: 0,
    file_id: 0,
    document: 0,
    cache_control: 0,
    tool_reference: 0,
  };
  #values = 0;
  #doubled: string | undefined;
  #misspelled: string | undefined;
  #unreadable: string | undefined;
  /** How many members are called `model`, at any depth. */
  #models = 0;
  /** At which depths names are looked at, and the first that speaks of models. */
  #watchFrom = NONE.from;
  #watchTo = NONE.to;
  #seen: string | undefined;
  #namesModel: string | undefined;
  #definesTools = false;
  /** Where the values of members called `definition` begin. */
  readonly #definitions: number[] = [];
  readonly #tools: RequestPart[] = [];
  readonly #fallbacks: RequestPart[] = [];

  constructor(body: Buffer) {
    this.#body = body;
    this.#memory = wordsBelow(body);
  }

  /** @param at Offset of the opening brace of the outermost object. */
  object(at: number): ScannedBody | ScanFailure {
    const body = this.#body;
    const fields: Partial<Record<BodyField, Span>> = {};
    let members = 0;
    const end = this.#members(at, (keyStart, keyEnd, start) => {
      if (++members > MAX_TOP_LEVEL_MEMBERS) return this.#fail('too_many_members');
      const name = nameAt(body, keyStart, keyEnd, FIELD_KEYS);
      if (name === 'invalid') return -1;
      const valueEnd = this.#field(name, start);
      if (valueEnd === -1) return -1;
      if (name !== undefined) {
        if (fields[name] !== undefined) this.#doubled ??= name;
        fields[name] = { keyStart, start, end: valueEnd };
        if (this.#seen !== undefined) this.#namesModel ??= `${name}.${this.#seen}`;
      } else if (this.#seen !== undefined || speaksOfModel(body, keyStart, keyEnd)) {
        this.#namesModel ??= body.toString('utf8', keyStart + 1, Math.min(keyEnd - 1, keyStart + 65));
      } else {
        this.#misspelled ??= foldedNameAt(body, keyStart, keyEnd, FOLDED_FIELDS);
      }
      return valueEnd;
    });
    if (end === -1) return this.failure;
    if (skipSpace(body, end) !== body.length) return 'invalid_json';
    if (this.#definesTools && !this.#defined(fields)) return this.failure;
    return {
      fields,
      doubled: this.#doubled,
      misspelled: this.#misspelled,
      unreadable: this.#unreadable,
      namesModel: this.#namesModel,
      tools: this.#tools,
      fallbacks: this.#fallbacks,
      words: this.#counts,
    };
  }

  /** Steps over the value of a member of the outermost object. */
  #field(name: BodyField | undefined, start: number): number {
    this.#forget();
    if (name === 'tools') return this.#parts(start, name, this.#tools);
    if (name === 'fallbacks') return this.#parts(start, name, this.#fallbacks);
    if (name === 'output_config' || name === 'output_format') return this.#withSchema(start, true);
    return this.#watched((name && WATCHED[name]) ?? ALL, start);
  }

  #watched(watch: Watch, start: number): number {
    const first = this.#body[start];
    if (first !== OPEN_BRACE && first !== OPEN_BRACKET) return this.skipValue(start);
    this.#watchFrom = watch.from;
    this.#watchTo = watch.to;
    const end = this.skipValue(start);
    this.#watchTo = NONE.to;
    return end;
  }

  /** Steps over what has a schema in a member of that name, or in one called `format`, and looks at all other names. */
  #withSchema(at: number, mayFormat: boolean): number {
    const body = this.#body;
    if (body[at] !== OPEN_BRACE) return this.#watched(ALL, at);
    if (++this.#values > MAX_VALUES) return this.#fail('too_many_values');
    return this.#members(at, (keyStart, keyEnd, start) => {
      const name = nameAt(body, keyStart, keyEnd, SCHEMA_MEMBERS);
      if (name === 'schema') return this.#watched(NONE, start);
      if (name === 'format' && mayFormat) return this.#withSchema(start, false);
      this.#lookAt(keyStart, keyEnd);
      return this.#watched(ALL, start);
    });
  }

  #forget(): void {
    this.#seen = undefined;
  }

  #lookAt(keyStart: number, keyEnd: number): void {
    if (this.#seen === undefined && speaksOfModel(this.#body, keyStart, keyEnd))
      this.#seen = this.#body.toString('utf8', keyStart + 1, keyEnd - 1);
  }

  /** @returns the offset behind the value, whatever it nests; no recursion. */
  skipValue(at: number): number {
    const body = this.#body;
    let i = at;
    let depth = 0;
    for (;;) {
      // Here a value must begin.
      if (++this.#values > MAX_VALUES) return this.#fail('too_many_values');
      const first = body[i];
      if (first === QUOTE) i = this.#string(i);
      else if (first === OPEN_BRACE || first === OPEN_BRACKET) {
        const isObject = first === OPEN_BRACE;
        i = skipSpace(body, i + 1);
        if (body[i] !== (isObject ? CLOSE_BRACE : CLOSE_BRACKET)) {
          if (depth === MAX_DEPTH) return this.#fail('too_deep');
          containers[depth++] = isObject ? 1 : 0;
          if (isObject && (i = this.#key(i, depth)) === -1) return -1;
          continue;
        }
        i++;
      } else i = skipScalar(body, i);
      if (i === -1) return -1;

      // Here a value has ended: leave what ends with it, up to the next value.
      for (;;) {
        if (depth === 0) return i;
        i = skipSpace(body, i);
        const isObject = containers[depth - 1] === 1;
        const next = body[i];
        if (next === COMMA) {
          i = skipSpace(body, i + 1);
          if (isObject && (i = this.#key(i, depth)) === -1) return -1;
          break;
        }
        if (next !== (isObject ? CLOSE_BRACE : CLOSE_BRACKET)) return -1;
        depth--;
        i++;
      }
    }
  }

  /**
   * Steps over an object.
   *
   * @param at Of its opening brace.
   * @param member Told of every member, and steps over its value, which begins at `start`.
   */
  #members(at: number, member: (keyStart: number, keyEnd: number, start: number) => number): number {
    const body = this.#body;
    let i = skipSpace(body, at + 1);
    if (body[i] === CLOSE_BRACE) return i + 1;
    for (;;) {
      const keyStart = i;
      if (body[i] !== QUOTE) return -1;
      const keyEnd = this.#string(i);
      if (keyEnd === -1) return -1;
      i = skipSpace(body, keyEnd);
      if (body[i] !== COLON) return -1;
      const end = member(keyStart, keyEnd, skipSpace(body, i + 1));
      if (end === -1) return -1;
      i = skipSpace(body, end);
      const next = body[i];
      if (next === CLOSE_BRACE) return i + 1;
      if (next !== COMMA) return -1;
      i = skipSpace(body, i + 1);
    }
  }

  /** Steps over the list of tools or of fallbacks and keeps what its entries have that matters. */
  #parts(at: number, list: string, into: RequestPart[]): number {
    const body = this.#body;
    const isFallbacks = into === this.#fallbacks;
    if (body[at] !== OPEN_BRACKET) {
      // Fallbacks may be the upstream's choice.
      if (body[at] !== LOWER_N && !isFallbacks) this.#unreadable ??= list;
      return this.skipValue(at);
    }
    let i = skipSpace(body, at + 1);
    if (body[i] === CLOSE_BRACKET) return i + 1;
    for (let index = 0; ; index++) {
      const isObject = body[i] === OPEN_BRACE;
      const models = this.#models;
      i = isObject ? this.#part(i, list, index, into) : this.skipValue(i);
      if (i === -1) return -1;
      const isRead = isFallbacks
        ? this.#models === models + 1 && into.at(-1)?.members.model !== undefined
        : isObject;
      if (!isRead) this.#unreadable ??= `${list}.${index}`;
      i = skipSpace(body, i);
      const next = body[i];
      if (next === CLOSE_BRACKET) return i + 1;
      if (next !== COMMA) return -1;
      i = skipSpace(body, i + 1);
    }
  }

  #part(at: number, list: string, index: number | undefined, into: RequestPart[]): number {
    if (++this.#values > MAX_VALUES) return this.#fail('too_many_values');
    const body = this.#body;
    let found: Partial<Record<PartMember, Span>> | undefined;
    this.#forget();
    const path = (): string => (index === undefined ? list : `${list}.${index}`);
    const end = this.#members(at, (keyStart, keyEnd, start) => {
      const name = nameAt(body, keyStart, keyEnd, PART_KEYS);
      if (name === 'invalid') return -1;
      const free = name === undefined ? nameAt(body, keyStart, keyEnd, FREE_TOOL_MEMBERS) : undefined;
      const valueEnd = this.#watched(free === undefined ? ALL : free === 'configs' ? BY_TOOL : NONE, start);
      if (name === undefined) this.#lookAt(keyStart, keyEnd);
      if (valueEnd !== -1 && name !== undefined) {
        found ??= {};
        if (found[name] !== undefined) this.#doubled ??= `${path()}.${name}`;
        found[name] = { keyStart, start, end: valueEnd };
      }
      // What goes by that name in a message may be data.
      if (name === undefined && index !== undefined && this.#misspelled === undefined) {
        const meant = foldedNameAt(body, keyStart, keyEnd, FOLDED_PART_MEMBERS);
        if (meant !== undefined) this.#misspelled = `${path()}.${meant}`;
      }
      return valueEnd;
    });
    if (end === -1) return end;
    const namesModel = this.#seen === undefined ? undefined : `${path()}.${this.#seen}`;
    if (index !== undefined) this.#namesModel ??= namesModel;
    if (found === undefined) return end;
    if (into.length === MAX_PARTS) return this.#fail('too_many_members');
    into.push({ path: path(), members: found, ...(namesModel !== undefined && { namesModel }) });
    return end;
  }

  /** Keeps the tools that messages define. What is nested in another member of that name defines none. */
  #defined({ messages, compaction }: ScannedBody['fields']): boolean {
    // One that looks at them once more, and counts nothing twice.
    const scanner = new Scanner(this.#body);
    let behind = 0;
    for (const start of this.#definitions) {
      if (start < behind || !(isWithin(start, messages) || isWithin(start, compaction))) continue;
      behind = scanner.#part(start, 'tool_definition', undefined, this.#tools);
      if (behind === -1) {
        this.failure = scanner.failure;
        return false;
      }
    }
    this.#doubled ??= scanner.#doubled;
    return true;
  }

  /** From a key's opening quote to where its value begins. */
  #key(at: number, depth: number): number {
    const body = this.#body;
    if (body[at] !== QUOTE) return -1;
    const end = this.#string(at);
    if (end === -1) return -1;
    if (depth <= this.#watchTo && depth >= this.#watchFrom) this.#lookAt(at, end);
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
        if (escapesUnicode) this.#count(nameAt(body, at, i + 1, STRINGS), i + 1);
        else if (STRINGS.byLength[i - at - 1] !== undefined) {
          this.#count(findName(body, at + 1, i - at - 1, STRINGS), i + 1);
        }
        return i + 1;
      }
      if (c === BACKSLASH) {
        escapesUnicode ||= body[i + 1] === LOWER_U;
        i += 2;
      } else i++;
    }
    const end = skipLongString(body, this.#memory, i);
    // A word's first escape stands within its length, so it was seen above.
    if (escapesUnicode && end !== -1) this.#count(nameAt(body, at, end, STRINGS), end);
    return end;
  }

  #count(word: BodyWord | Mark | 'invalid' | undefined, end: number): void {
    if (word === undefined || word === 'invalid') return;
    if (word === 'model') {
      if (this.#body[skipSpace(this.#body, end)] === COLON) this.#models++;
    } else if (word === 'definition') this.#noteDefinition(end);
    else if (word === 'tool_definition') this.#definesTools = true;
    else this.#counts[word]++;
  }

  #noteDefinition(keyEnd: number): void {
    const body = this.#body;
    const colon = skipSpace(body, keyEnd);
    if (body[colon] !== COLON) return;
    const start = skipSpace(body, colon + 1);
    if (body[start] === OPEN_BRACE) this.#definitions.push(start);
  }

  #fail(failure: ScanFailure): -1 {
    this.failure = failure;
    return -1;
  }
}

function isWithin(offset: number, span: Span | undefined): boolean {
  return span !== undefined && offset >= span.start && offset < span.end;
}
