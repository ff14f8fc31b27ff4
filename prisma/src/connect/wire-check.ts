/** A message of a server that breaks the protocol, or more of an answer than there is room for. */
export class HostileAnswerError extends Error {
  override readonly name = 'HostileAnswerError';
}

/** What one message, and one field of a row, take in memory beyond their bytes. */
const MESSAGE_BYTES = 256;
const FIELD_BYTES = 48;
/** An error's words go to logs and to the status of an object. */
const MAX_ERROR_BYTES = 16 * 1024;

const DATA_ROW = 'D'.charCodeAt(0);
const ERROR_RESPONSE = 'E'.charCodeAt(0);
const NOTICE_RESPONSE = 'N'.charCodeAt(0);

type State = 'header' | 'text' | 'text end' | 'row' | 'field' | 'value' | 'any';

/**
 * Reads along what a server sends (PostgreSQL's documentation, 54.7 "Message Formats"), ahead of the driver, which trusts
 * it: an error that does not end keeps its parser busy for good, fields of negative lengths let it read the same bytes again and
 * again, and it keeps what does not end. Allocates nothing.
 */
export class WireCheck {
  readonly #onWeight: (bytes: number) => void;
  readonly #header = Buffer.alloc(5);
  #filled = 0;
  #state: State = 'header';
  /** Bytes of the message that are still to come. */
  #left = 0;
  /** Of a number that is being read: how many of its bytes are to come, and what they have been so far. */
  #digits = 0;
  #number = 0;
  #fields = 0;
  #valueLeft = 0;

  /** @param onWeight What the next bytes will take in memory, before the driver sees them. May throw. */
  constructor(onWeight: (bytes: number) => void) {
    this.#onWeight = onWeight;
  }

  /** @throws HostileAnswerError, and what `onWeight` throws */
  check(chunk: Buffer): void {
    this.#onWeight(chunk.length);
    for (let at = 0; at < chunk.length;) {
      at = this.#state === 'header' ? this.#readHeader(chunk, at) : this.#readBody(chunk, at);
      if (this.#state !== 'header' && this.#left === 0) this.#end();
    }
  }

  #readHeader(chunk: Buffer, at: number): number {
    this.#header[this.#filled++] = chunk[at]!;
    if (this.#filled < this.#header.length) return at + 1;
    this.#filled = 0;
    this.#left = this.#header.readUInt32BE(1) - 4;
    if (this.#left < 0) throw malformed('a message without a length');
    const [type] = this.#header;
    this.#state = 'any';
    if (type === ERROR_RESPONSE || type === NOTICE_RESPONSE) {
      if (this.#left > MAX_ERROR_BYTES) throw malformed('an error of more than 16 KiB');
      this.#state = 'text';
    } else if (type === DATA_ROW) {
      this.#state = 'row';
      this.#expectNumber(2);
    }
    this.#onWeight(MESSAGE_BYTES);
    return at + 1;
  }

  /** @returns where to go on. */
  #readBody(chunk: Buffer, at: number): number {
    const end = Math.min(chunk.length, at + this.#left);
    if (this.#state === 'any') {
      this.#left -= end - at;
      return end;
    }
    if (this.#state === 'value') {
      const next = Math.min(end, at + this.#valueLeft);
      this.#left -= next - at;
      this.#valueLeft -= next - at;
      if (this.#valueLeft === 0) this.#expectField();
      return next;
    }
    if (this.#state === 'row' || this.#state === 'field') this.#readNumber(chunk[at]!);
    else this.#readText(chunk[at]!);
    this.#left--;
    return at + 1;
  }

  /** Fields of an error: a byte and a text that ends with NUL each; a NUL in place of the byte ends them. */
  #readText(byte: number): void {
    if (this.#state === 'text end') {
      if (byte === 0) this.#state = 'text';
    } else if (byte === 0) {
      if (this.#left !== 1) throw malformed('an error that goes on after its end');
      this.#state = 'any';
    } else {
      this.#state = 'text end';
    }
  }

  #readNumber(byte: number): void {
    this.#number = (this.#number << 8) | byte;
    if (--this.#digits > 0) return;
    if (this.#state === 'row') {
      this.#fields = this.#number;
      this.#onWeight(this.#fields * FIELD_BYTES);
      this.#expectField();
      return;
    }
    this.#fields--;
    // NULL has the length -1.
    if (this.#number < -1 || this.#number > this.#left - 1) throw malformed('a row of impossible lengths');
    this.#valueLeft = Math.max(this.#number, 0);
    if (this.#valueLeft > 0) this.#state = 'value';
    else this.#expectField();
  }

  #expectField(): void {
    if (this.#fields === 0) {
      this.#state = 'any';
      return;
    }
    this.#state = 'field';
    this.#expectNumber(4);
  }

  #expectNumber(bytes: number): void {
    this.#digits = bytes;
    this.#number = 0;
  }

  #end(): void {
    if (this.#state !== 'any') throw malformed('a message that ends too early');
    this.#state = 'header';
  }
}

function malformed(what: string): HostileAnswerError {
  return new HostileAnswerError(`the server does not speak PostgreSQL's protocol: it sent ${what}`);
}
