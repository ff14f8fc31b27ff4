/**
 * Just enough HTTP/1.1 (RFC 9112) for the two ends of a measurement, which have to cost less than what stands between
 * them. Not for anything else: it believes what it is sent.
 */
export class MessageReader {
  /** Called with the head of each message, before its body. */
  readonly #onHead: (head: string) => void;
  /** Called at the first byte of each body and at its last. */
  readonly #onBody: () => void;
  readonly #onEnd: () => void;
  #head = '';
  /** Bytes of the body that are still to come; -1 while reading a head, Infinity in a chunked body. */
  #rest = -1;
  #bodySeen = false;
  /** The last bytes of a chunked body. */
  #tail = '';

  constructor(on: { head: (head: string) => void; body?: () => void; end: () => void }) {
    this.#onHead = on.head;
    this.#onBody = on.body ?? (() => undefined);
    this.#onEnd = on.end;
  }

  push(chunk: Buffer): void {
    let data = chunk;
    while (data.length > 0) {
      if (this.#rest === -1) {
        const end = this.#head === '' ? data.indexOf('\r\n\r\n') : -1;
        let text: string;
        if (end !== -1) {
          text = data.toString('latin1', 0, end + 4);
          data = data.subarray(end + 4);
        } else {
          // A head in pieces is rare: put it together and look again.
          const all = this.#head + data.toString('latin1');
          const at = all.indexOf('\r\n\r\n');
          if (at === -1) {
            this.#head = all;
            return;
          }
          text = all.slice(0, at + 4);
          data = Buffer.from(all.slice(at + 4), 'latin1');
        }
        this.#head = '';
        this.#begin(text);
        continue;
      }
      if (!this.#bodySeen) {
        this.#bodySeen = true;
        this.#onBody();
      }
      if (this.#rest === Infinity) {
        this.#tail = (this.#tail + data.toString('latin1', Math.max(0, data.length - 5))).slice(-5);
        if (this.#tail === '0\r\n\r\n') this.#finish();
        return;
      }
      const taken = Math.min(this.#rest, data.length);
      this.#rest -= taken;
      data = data.subarray(taken);
      if (this.#rest === 0) this.#finish();
    }
  }

  #begin(head: string): void {
    this.#onHead(head);
    this.#bodySeen = false;
    this.#tail = '';
    const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1];
    if (length !== undefined) this.#rest = Number(length);
    else this.#rest = /\r\ntransfer-encoding: *chunked/i.test(head) ? Infinity : 0;
    if (this.#rest === 0) this.#finish();
  }

  #finish(): void {
    this.#rest = -1;
    this.#onEnd();
  }
}
