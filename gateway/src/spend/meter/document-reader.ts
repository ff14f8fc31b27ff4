import { ORDINARY, highOf } from './string-bytes.ts';

/**
 * Reads one JSON document that comes in pieces, for the few things in it that a meter wants: the `type`, the usage
 * object (`usage`, or `message.usage`), how much text a `delta` holds, and the type of a `content_block`. Everything else is stepped over: nothing of
 * it is copied, decoded or kept, so an answer of megabytes costs its bytes once and no memory. Only a usage object
 * goes through `JSON.parse`.
 *
 * Not a validator: of a document that is not JSON it makes what it can, and never throws.
 */

const LF = 0x0a;
const CR = 0x0d;
const SPACE = 0x20;
const TAB = 0x09;
const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_BRACKET = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

/** Where the reader is. Plain numbers: compared for every byte. */
const VALUE = 0;
const KEY = 1;
const AFTER_KEY = 2;
const AFTER_VALUE = 3;
const STRING = 4;
const SCALAR = 5;
const DONE = 6;
const BROKEN = 7;

/** What is being copied. */
type Capture = 'key' | 'type' | 'block' | 'usage' | undefined;

/** A usage object takes some 400 bytes; one that lists hundreds of iterations still fits. */
const MAX_CAPTURED_BYTES = 64 * 1024;

export class DocumentReader {
  /** The document's `type`; empty when it has none. */
  type = '';
  /** The usage object; undefined until it has come whole. */
  usage: unknown;
  /** `content_block.type`; the rest of the document does not matter then, and is not read. */
  blockType = '';
  /** Bytes of the texts in `delta`, its `type` apart, as they are written; and those of characters outside of ASCII. */
  deltaBytes = 0;
  deltaHighBytes = 0;
  /** Bytes of characters outside of ASCII in all strings. */
  highBytes = 0;
  /** Whether `content` is a list with a block in it. */
  hasContent = false;

  #state = VALUE;
  #depth = 0;
  /** Whether the container at each depth is an object (1) or an array (0). */
  #containers = new Uint8Array(16);
  /** Names of the members that are open at the first and at the second level. */
  #outerKey = '';
  #innerKey = '';
  #inKey = false;
  #escaped = false;
  #counting = false;
  #capture: Capture;
  /** How deep the value is that is being copied. */
  #captureDepth = 0;
  /** Where in this chunk it begins. */
  #captureFrom = 0;
  #captured: Buffer | undefined;
  #capturedBytes = 0;

  /** The document has come to its end. */
  get done(): boolean {
    return this.#state === DONE;
  }

  /** Nothing of a document was seen yet. */
  get untouched(): boolean {
    return this.#state === VALUE && this.#depth === 0;
  }

  /** Makes ready for another document. */
  reset(): void {
    this.type = '';
    this.usage = undefined;
    this.blockType = '';
    this.deltaBytes = 0;
    this.deltaHighBytes = 0;
    this.highBytes = 0;
    this.hasContent = false;
    this.#state = VALUE;
    this.#depth = 0;
    this.#outerKey = '';
    this.#innerKey = '';
    this.#inKey = false;
    this.#escaped = false;
    this.#counting = false;
    this.#capture = undefined;
    this.#capturedBytes = 0;
  }

  /** Reads `[from, end)` up to a line end. @returns its offset, or `end`. */
  read(chunk: Buffer, from: number, end: number): number {
    const stop = this.#read(chunk, from, end);
    if (this.#capture !== undefined) this.#copy(chunk, this.#captureFrom, stop);
    return stop;
  }

  #read(chunk: Buffer, from: number, end: number): number {
    this.#captureFrom = from;
    let i = from;
    while (i < end) {
      if (this.#state === STRING) {
        i = this.#string(chunk, i, end);
        if (i < end && (chunk[i] === LF || chunk[i] === CR)) return i;
        continue;
      }
      const c = chunk[i] as number;
      if (c === LF || c === CR) return i;
      i++;
      if (c === SPACE || c === TAB) continue;
      switch (this.#state) {
        case VALUE:
          this.#value(c, chunk, i);
          break;
        case KEY:
          if (c === QUOTE) this.#openKey(i);
          else if (c === CLOSE_BRACE) this.#close(chunk, i);
          else if (c !== COMMA) this.#state = BROKEN;
          break;
        case AFTER_KEY:
          this.#state = c === COLON ? VALUE : BROKEN;
          break;
        case SCALAR:
        case AFTER_VALUE:
          if (c === COMMA) this.#state = this.#containers[this.#depth - 1] === 1 ? KEY : VALUE;
          else if (c === CLOSE_BRACE || c === CLOSE_BRACKET) this.#close(chunk, i);
          else if (this.#state === AFTER_VALUE) this.#state = BROKEN;
          break;
        default:
          // Done or broken: nothing matters up to the end of the line.
          while (i < end && chunk[i] !== LF && chunk[i] !== CR) i++;
      }
    }
    return i;
  }

  /** @param c The first byte of a value. @param next Offset behind it. */
  #value(c: number, chunk: Buffer, next: number): void {
    if (c === QUOTE) {
      this.#state = STRING;
      const inMember = this.#capture === undefined && this.#containers[0] === 1;
      if (!inMember) return;
      if (this.#depth === 1 && this.#outerKey === 'type') this.#startCapture('type', next);
      if (
        this.#depth === 2 &&
        this.#containers[1] === 1 &&
        this.#outerKey === 'content_block' &&
        this.#innerKey === 'type'
      )
        this.#startCapture('block', next);
      this.#counting =
        this.#depth === 2 &&
        this.#containers[1] === 1 &&
        this.#outerKey === 'delta' &&
        this.#innerKey !== 'type';
      return;
    }
    if (c === OPEN_BRACE || c === OPEN_BRACKET) {
      if (c === OPEN_BRACE && this.#capture === undefined && this.#isUsage())
        this.#startCapture('usage', next - 1);
      this.#push(c === OPEN_BRACE);
      this.#state = c === OPEN_BRACE ? KEY : VALUE;
      return;
    }
    if (c === CLOSE_BRACKET && this.#depth > 0) this.#close(chunk, next);
    else if (c === CLOSE_BRACE || c === COMMA || c === COLON || this.#depth === 0) this.#state = BROKEN;
    else this.#state = SCALAR;
  }

  #isUsage(): boolean {
    if (this.#containers[0] !== 1) return false;
    if (this.#depth === 1) return this.#outerKey === 'usage';
    return (
      this.#depth === 2 &&
      this.#containers[1] === 1 &&
      this.#outerKey === 'message' &&
      this.#innerKey === 'usage'
    );
  }

  #openKey(next: number): void {
    this.#state = STRING;
    this.#inKey = true;
    const wanted =
      this.#depth === 1 ||
      (this.#depth === 2 &&
        (this.#outerKey === 'message' || this.#outerKey === 'delta' || this.#outerKey === 'content_block'));
    if (this.#capture === undefined && wanted) this.#startCapture('key', next);
  }

  /** Steps over the inside of a string. @returns the offset behind its closing quote, of a line end, or `end`. */
  #string(chunk: Buffer, from: number, end: number): number {
    let i = from;
    let high = 0;
    if (this.#escaped && i < end) {
      this.#escaped = false;
      i++;
    }
    while (i < end) {
      while (i < end && ORDINARY[chunk[i] as number] === 1) i++;
      if (i === end) break;
      const c = chunk[i] as number;
      if (c === QUOTE || c === LF || c === CR) break;
      i++;
      if (c === BACKSLASH) {
        if (i === end) this.#escaped = true;
        else i++;
      } else high += highOf(c);
    }
    this.highBytes += high;
    if (this.#counting) {
      this.deltaBytes += i - from;
      this.deltaHighBytes += high;
    }
    if (i === end || chunk[i] !== QUOTE) return i;

    this.#counting = false;
    if (this.#inKey) {
      this.#inKey = false;
      this.#state = AFTER_KEY;
      if (this.#capture === 'key') this.#nameMember(this.#endCapture(chunk, i));
      return i + 1;
    }
    this.#state = AFTER_VALUE;
    if (this.#capture === 'type') this.type = this.#endCapture(chunk, i);
    else if (this.#capture === 'block') {
      this.blockType = this.#endCapture(chunk, i);
      this.#state = DONE;
    }
    return i + 1;
  }

  #nameMember(name: string): void {
    if (this.#depth === 1) this.#outerKey = name;
    else this.#innerKey = name;
  }

  #push(isObject: boolean): void {
    if (this.#depth === 2 && this.#outerKey === 'content' && this.#containers[1] === 0)
      this.hasContent = true;
    if (this.#depth === this.#containers.length) {
      const grown = new Uint8Array(this.#depth * 2);
      grown.set(this.#containers);
      this.#containers = grown;
    }
    this.#containers[this.#depth++] = isObject ? 1 : 0;
  }

  /** @param next Offset behind the closing bracket. */
  #close(chunk: Buffer, next: number): void {
    this.#depth--;
    this.#state = this.#depth === 0 ? DONE : AFTER_VALUE;
    if (this.#capture !== 'usage' || this.#depth !== this.#captureDepth) return;
    try {
      this.usage = JSON.parse(this.#endCapture(chunk, next));
    } catch {
      // Cut, oversized or no JSON: as good as none.
    }
  }

  #startCapture(what: Capture, from: number): void {
    this.#capture = what;
    this.#captureDepth = this.#depth;
    this.#captureFrom = from;
    this.#capturedBytes = 0;
  }

  /** @returns what was copied, with the rest that ends here; empty when it was too much. */
  #endCapture(chunk: Buffer, end: number): string {
    this.#capture = undefined;
    if (this.#capturedBytes + end - this.#captureFrom > MAX_CAPTURED_BYTES) return '';
    if (this.#capturedBytes === 0) return chunk.toString('utf8', this.#captureFrom, end);
    this.#copy(chunk, this.#captureFrom, end);
    return this.#captured?.toString('utf8', 0, this.#capturedBytes) ?? '';
  }

  #copy(chunk: Buffer, from: number, to: number): void {
    const length = this.#capturedBytes + to - from;
    if (length <= MAX_CAPTURED_BYTES) {
      const room = this.#captured?.length ?? 0;
      if (length > room) {
        const grown = Buffer.allocUnsafe(Math.max(1024, length * 2));
        this.#captured?.copy(grown, 0, 0, this.#capturedBytes);
        this.#captured = grown;
      }
      if (this.#captured !== undefined) chunk.copy(this.#captured, this.#capturedBytes, from, to);
    }
    this.#capturedBytes = length;
  }
}
