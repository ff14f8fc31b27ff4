import { DocumentReader } from './document-reader.ts';
import { ORDINARY, highOf } from './string-bytes.ts';
import type { Tally } from './tally.ts';

const LF = 0x0a;
const CR = 0x0d;
const SPACE = 0x20;
const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const BACKSLASH = 0x5c;
const CLOSE_BRACE = 0x7d;

const DATA = Buffer.from('data');
const EVENT = Buffer.from('event');
/** How every event with a piece of the answer begins, as the API writes it: up to the index, and behind it. */
const PIECE = Buffer.from('event: content_block_delta\ndata: {"type":"content_block_delta","index":');
const PIECE_TYPE = Buffer.from(',"delta":{"type":"');

/** Where the reader is in a line. Plain numbers: compared for every piece. */
const LINE_START = 0;
const FIELD_NAME = 1;
const AFTER_COLON = 2;
const EVENT_NAME = 3;
const DATA_VALUE = 4;
const IGNORED = 5;

/** What the `event` field promises. */
type Kind = 'piece' | 'opening' | 'no_usage' | 'any';

/** All others may carry a usage object, unknown ones too; `content_block_start` says what begins. */
const KINDS: ReadonlyMap<string, Kind> = new Map([
  ['content_block_delta', 'piece'],
  ['message_start', 'opening'],
  ['content_block_stop', 'no_usage'],
  ['ping', 'no_usage'],
]);
const LONGEST_NAME = 32;

/**
 * Reads a stream of server-sent events (WHATWG HTML §9.2), in whatever pieces it comes, for its usage frames. An event
 * with a piece of the answer, as nearly all are, is stepped over in one pass that counts the bytes of its text;
 * all others are read by a {@link DocumentReader}. An event counts as soon as its JSON is complete, so the last one of
 * a stream that breaks off before the blank line counts too.
 */
export class EventStreamReader {
  readonly #tally: Tally;
  readonly #document = new DocumentReader();
  #recognized = false;
  #state = LINE_START;
  #afterCr = false;
  #field = DATA;
  #fieldBytes = 0;
  readonly #name = Buffer.allocUnsafe(LONGEST_NAME);
  #nameBytes = 0;
  #kind: Kind = 'any';
  /** Nothing of this event was seen yet. */
  #atEventStart = true;
  /** What this event says is in the tally. */
  #settled = false;

  constructor(tally: Tally) {
    this.#tally = tally;
  }

  /** There was a field or a comment of an event stream, or the beginning of one. */
  get recognized(): boolean {
    return this.#recognized || this.#state === FIELD_NAME;
  }

  read(chunk: Buffer): void {
    const end = chunk.length;
    let i = 0;
    while (i < end) {
      switch (this.#state) {
        case LINE_START: {
          const behind = this.#atEventStart ? this.#piece(chunk, i, end) : -1;
          i = behind === -1 ? this.#lineStart(chunk, i) : behind;
          continue;
        }
        case FIELD_NAME:
          i = this.#fieldName(chunk, i, end);
          break;
        case AFTER_COLON:
          if (chunk[i] === SPACE) i++;
          if (this.#field === DATA) i = this.#dataStart(i);
          else this.#state = EVENT_NAME;
          break;
        case EVENT_NAME:
          i = this.#eventName(chunk, i, end);
          break;
        case DATA_VALUE:
          i = this.#document.read(chunk, i, end);
          if (this.#document.done) this.#settle();
          break;
        default:
          while (i < end && chunk[i] !== LF && chunk[i] !== CR) i++;
      }
      if (i < end && (chunk[i] === LF || chunk[i] === CR)) {
        this.#afterCr = chunk[i] === CR;
        this.#state = LINE_START;
        i++;
      }
    }
  }

  /** No more comes. What there is of an event that broke off still counts. */
  end(): void {
    this.#endEvent();
  }

  #lineStart(chunk: Buffer, at: number): number {
    const c = chunk[at];
    const secondOfCrlf = this.#afterCr && c === LF;
    this.#afterCr = false;
    if (secondOfCrlf) return at + 1;
    this.#atEventStart = false;
    if (c === LF || c === CR) {
      this.#afterCr = c === CR;
      this.#endEvent();
      return at + 1;
    }
    if (c === COLON) this.#recognized = true;
    this.#state = c === DATA[0] || c === EVENT[0] ? FIELD_NAME : IGNORED;
    this.#field = c === DATA[0] ? DATA : EVENT;
    this.#fieldBytes = 1;
    return at + 1;
  }

  #fieldName(chunk: Buffer, at: number, end: number): number {
    const field = this.#field;
    let i = at;
    while (i < end && this.#fieldBytes < field.length && chunk[i] === field[this.#fieldBytes]) {
      i++;
      this.#fieldBytes++;
    }
    if (i === end) return i;
    if (this.#fieldBytes < field.length || chunk[i] !== COLON) {
      this.#state = IGNORED;
      return i;
    }
    this.#recognized = true;
    this.#state = AFTER_COLON;
    if (field === EVENT) {
      this.#nameBytes = 0;
      this.#kind = 'any';
    }
    return i + 1;
  }

  #eventName(chunk: Buffer, at: number, end: number): number {
    const name = this.#name;
    let i = at;
    for (; i < end; i++) {
      const c = chunk[i] as number;
      if (c === LF || c === CR) {
        this.#kind = KINDS.get(name.toString('latin1', 0, this.#nameBytes)) ?? 'any';
        return i;
      }
      if (this.#nameBytes === LONGEST_NAME) {
        this.#state = IGNORED;
        return i;
      }
      name[this.#nameBytes++] = c;
    }
    return i;
  }

  #dataStart(at: number): number {
    this.#state = this.#kind === 'no_usage' || this.#settled ? IGNORED : DATA_VALUE;
    return at;
  }

  /**
   * A whole event with a piece of the answer, written as the API writes it, blanks before the last brace included
   * (padding). The same as the way through the lines would make of it, in a third of the time.
   *
   * @returns the offset behind it, or -1: it is something else, or not in this chunk as a whole.
   */
  #piece(chunk: Buffer, at: number, end: number): number {
    let i = matches(chunk, at, end, PIECE);
    if (i === -1) return -1;
    while (i < end && isDigit(chunk[i] as number)) i++;
    if ((i = matches(chunk, i, end, PIECE_TYPE)) === -1) return -1;
    if ((i = plainStringEnd(chunk, i, end)) === -1) return -1;
    if (chunk[i] !== COMMA || chunk[i + 1] !== QUOTE) return -1;
    if ((i = plainStringEnd(chunk, i + 2, end)) === -1) return -1;
    if (chunk[i] !== COLON || chunk[i + 1] !== QUOTE) return -1;

    const text = i + 2;
    let high = 0;
    for (i = text; ;) {
      while (i < end && ORDINARY[chunk[i] as number] === 1) i++;
      if (i >= end) return -1;
      const c = chunk[i] as number;
      if (c === QUOTE) break;
      if (c < SPACE) return -1;
      i += c === BACKSLASH ? 2 : 1;
      high += highOf(c);
    }
    const bytes = i - text;
    i++;
    for (let braces = 0; braces < 2; i++) {
      // Outside of the chunk there is neither.
      const c = chunk[i];
      if (c === CLOSE_BRACE) braces++;
      else if (c !== SPACE) return -1;
    }
    if (chunk[i] !== LF || chunk[i + 1] !== LF) return -1;
    this.#recognized = true;
    this.#tally.sent(bytes, high);
    return i + 2;
  }

  #settle(): void {
    if (this.#settled) return;
    this.#settled = true;
    const { type, blockType, usage, deltaBytes, deltaHighBytes } = this.#document;
    const isNamed = type !== '';
    if (blockType !== '') this.#tally.block(blockType);
    else if (isNamed ? type === 'content_block_delta' : this.#kind === 'piece')
      this.#tally.sent(deltaBytes, deltaHighBytes);
    else if (type === 'error') this.#tally.failed();
    else if (isNamed ? type === 'message_start' : this.#kind === 'opening') this.#tally.opening(usage);
    else this.#tally.count(usage);
  }

  #endEvent(): void {
    if (!this.#document.untouched) {
      this.#settle();
      this.#document.reset();
    }
    this.#kind = 'any';
    this.#settled = false;
    this.#atEventStart = true;
  }
}

/** @returns the offset behind the text that stands there, or -1. */
function matches(chunk: Buffer, at: number, end: number, text: Buffer): number {
  if (at + text.length > end) return -1;
  for (let i = 0; i < text.length; i++) if (chunk[at + i] !== text[i]) return -1;
  return at + text.length;
}

/** @returns the offset behind the closing quote of a string without escapes, or -1. */
function plainStringEnd(chunk: Buffer, at: number, end: number): number {
  for (let i = at; i < end; i++) {
    const c = chunk[i] as number;
    if (c === QUOTE) return i + 1;
    if (c === BACKSLASH || c < SPACE) return -1;
  }
  return -1;
}

function isDigit(c: number): boolean {
  return c >= 0x30 && c <= 0x39;
}
