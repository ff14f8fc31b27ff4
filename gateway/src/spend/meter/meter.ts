import type { IncomingHttpHeaders } from 'node:http';
import type { Transform } from 'node:stream';
import type { MeteredUsage, UsageMeter } from '../types.ts';
import { BodyReader } from './body-reader.ts';
import { contentCodingOf, createDecoder } from './content-coding.ts';

export interface MeterOptions {
  /** An answer could not be read, so that what it is billed is an estimate. At most once; the reason is for the log. */
  readonly onUnreadable?: (reason: string) => void;
}

/**
 * A meter for one successful answer to `POST /v1/messages`, streamed or not, plain or compressed. It sees the bytes
 * pass and neither changes nor delays them.
 *
 * The upstream's own counts are what is billed. Where the last one is missing (the client went, the upstream broke
 * off, an answer without usage), output is the last count plus an estimate of what was sent since, and beside it stands the
 * most that it can be. docs/reference-differences.md lists where this meter departs from the reference gateway.
 *
 * @param headers Of the upstream's answer.
 */
export function createMeter(headers: IncomingHttpHeaders, options: MeterOptions = {}): UsageMeter {
  const coding = contentCodingOf(headers);
  return coding === '' ? new PlainMeter() : new CodedMeter(coding, options.onUnreadable);
}

class PlainMeter implements UsageMeter {
  readonly #reader = new BodyReader();

  bytes(chunk: Buffer): void {
    this.#reader.read(chunk);
  }

  end(): MeteredUsage {
    return this.#reader.end();
  }
}

/**
 * Decompresses a copy, beside the way to the client. Upstreams are asked for plain answers, so this is for those that
 * do not listen. What cannot be decompressed is not free: each byte of it is taken for a character.
 */
class CodedMeter implements UsageMeter {
  readonly #reader = new BodyReader();
  readonly #coding: string;
  readonly #onUnreadable: ((reason: string) => void) | undefined;
  #decoder: Transform | undefined;
  #bytes = 0;
  #decodes = true;
  #ended: Promise<void> | undefined;

  constructor(coding: string, onUnreadable: ((reason: string) => void) | undefined) {
    this.#coding = coding;
    this.#onUnreadable = onUnreadable;
  }

  bytes(chunk: Buffer): void {
    if (chunk.length === 0) return;
    this.#bytes += chunk.length;
    if (!this.#decodes) return;
    this.#decoder ??= this.#start(chunk);
    // The decoder works later, and the chunk is not ours to keep.
    this.#decoder?.write(Buffer.from(chunk));
  }

  async end(): Promise<MeteredUsage> {
    this.#decoder?.end();
    await this.#ended;
    return this.#reader.end({ bytes: this.#bytes, whole: this.#decodes });
  }

  #start(first: Buffer): Transform | undefined {
    const decoder = createDecoder(this.#coding, first);
    if (decoder === undefined) {
      this.#giveUp(`content-encoding ${this.#coding.slice(0, 50)} is not known`);
      return undefined;
    }
    this.#ended = new Promise((resolve) => {
      decoder.on('data', (chunk: Buffer) => this.#reader.read(chunk));
      decoder.on('end', resolve);
      decoder.on('error', (error) => {
        this.#giveUp(`content-encoding ${this.#coding}: ${error.message}`);
        resolve();
      });
    });
    return decoder;
  }

  #giveUp(reason: string): void {
    this.#decodes = false;
    this.#onUnreadable?.(reason);
  }
}
