import type { MeteredUsage } from '../types.ts';
import { DocumentReader } from './document-reader.ts';
import { EventStreamReader } from './event-stream-reader.ts';
import { Tally } from './tally.ts';

const OPEN_BRACKET = 0x5b;
const OPEN_BRACE = 0x7b;

/**
 * Reads the body of an answer, plain. What it is, is told by its first byte and not by its `content-type`: a stream of
 * events never begins with a bracket, JSON that has a usage object always does.
 */
export class BodyReader {
  readonly #tally = new Tally();
  #bytes = 0;
  #document: DocumentReader | undefined;
  #events: EventStreamReader | undefined;

  read(chunk: Buffer): void {
    this.#bytes += chunk.length;
    if (this.#events !== undefined) this.#events.read(chunk);
    else if (this.#document !== undefined) readLines(this.#document, chunk, 0);
    else this.#begin(chunk);
  }

  /** @param coded Of a body that was decoded: its length as it came, and whether it could be read to its end. */
  end(coded?: { readonly bytes: number; readonly whole: boolean }): MeteredUsage {
    if (this.#document !== undefined) this.#endDocument(this.#document);
    else if (this.#events !== undefined) {
      this.#events.end();
      if (!this.#events.recognized) this.#unknown(this.#bytes, 0);
    }
    if (coded !== undefined && coded.bytes > 0 && (!coded.whole || this.#bytes === 0)) {
      this.#unknown(this.#bytes === 0 ? coded.bytes : 0, 0);
    }
    return this.#tally.result();
  }

  #begin(chunk: Buffer): void {
    for (let i = 0; i < chunk.length; i++) {
      const c = chunk[i] as number;
      // A byte order mark, and white space.
      if (c === 0xef || c === 0xbb || c === 0xbf || c <= 0x20) continue;
      if (c === OPEN_BRACE || c === OPEN_BRACKET) {
        this.#document = new DocumentReader();
        readLines(this.#document, chunk, i);
      } else {
        this.#events = new EventStreamReader(this.#tally);
        this.#events.read(i === 0 ? chunk : chunk.subarray(i));
      }
      return;
    }
  }

  #endDocument(document: DocumentReader): void {
    if (document.usage !== undefined) this.#tally.count(document.usage);
    const { output } = this.#tally;
    // As in a stream, content that counts as nothing has lost its count on the way.
    const isCounted = output !== undefined && (output > 0 || !document.hasContent);
    if (isCounted || document.type === 'error') return;
    // An answer without its count is taken by its length, as the reference gateway does; an error costs nothing.
    this.#unknown(this.#bytes, document.highBytes);
  }

  /** What is estimated by its length alone may have any. */
  #unknown(bytes: number, highBytes: number): void {
    this.#tally.sent(bytes, highBytes);
    this.#tally.unreadable();
  }
}

function readLines(document: DocumentReader, chunk: Buffer, from: number): void {
  for (let i = from; i < chunk.length; i++) i = document.read(chunk, i, chunk.length);
}
