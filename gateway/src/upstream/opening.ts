import type { IncomingHttpHeaders } from 'node:http';
import { providerErrorOf, statusOf } from './provider-error.ts';

/** An answer with a status of success that begins with an error, so that it is none. */
export interface ErrorInside {
  /** What it would have been answered with. */
  readonly status: number;
  readonly body: Buffer;
}

/** What the bytes so far say: an answer, an error instead of one, or nothing yet. */
export type Verdict = 'answer' | 'undecided' | ErrorInside;

/** Errors are short; what goes on longer than this, in bytes, is an answer. */
const MAX_HELD_BYTES = 16 * 1024;

/** The usual first bytes of a stream: an event with a name, which is neither an error nor a sign of life. */
const NAMED_EVENT = /^event: ?(?!error|ping)[a-z_]{4}/;
const NAME_BYTES = 16;

/**
 * Looks at how the body of an answer begins, until it is known whether it is one. A stream whose first event is `error`
 * (pings and comments aside), or a document that is an error, has told the client nothing that another upstream could not
 * tell better. An honest stream is decided by its first few bytes.
 */
export class Opening {
  readonly #kind: 'events' | 'document' | 'opaque';
  /** What was not decided upon yet. */
  held: Buffer | undefined;

  constructor(headers: IncomingHttpHeaders) {
    const type = headers['content-type'] ?? '';
    if (headers['content-encoding'] !== undefined) this.#kind = 'opaque';
    else if (type.startsWith('text/event-stream')) this.#kind = 'events';
    else this.#kind = type.startsWith('application/json') ? 'document' : 'opaque';
  }

  /** @returns the verdict on this chunk and all that are held; of those that are undecided, it keeps the bytes. */
  add(chunk: Buffer): Verdict {
    if (this.held === undefined && this.#isPlainly(chunk)) return 'answer';
    this.held = this.held === undefined ? chunk : Buffer.concat([this.held, chunk]);
    if (this.held.length > MAX_HELD_BYTES) return 'answer';
    return this.#kind === 'events' ? judgeEvents(this.held, false) : judgeDocument(this.held, false);
  }

  /** The body is over. @returns `undecided` when nothing was said in it. */
  end(): Verdict {
    if (this.held === undefined) return 'undecided';
    return this.#kind === 'events' ? judgeEvents(this.held, true) : judgeDocument(this.held, true);
  }

  #isPlainly(chunk: Buffer): boolean {
    if (this.#kind === 'opaque') return true;
    return this.#kind === 'events' && NAMED_EVENT.test(chunk.toString('latin1', 0, NAME_BYTES));
  }
}

const FIELDS = ['event:', 'data:', 'id:', 'retry:', ':'];
const SAYS_ERROR = /^\s*\{\s*("type"\s*:\s*"error"|"error"\s*:)/;
const SAYS_PING = /^\s*\{\s*"type"\s*:\s*"ping"\s*\}\s*$/;
const SAYS_OTHER = /^\s*\{\s*"type"\s*:\s*"(?!error|ping)[a-z_]{4}/;

/** Reads events (WHATWG HTML §9.2.6) up to the first one that says something. */
function judgeEvents(held: Buffer, ended: boolean): Verdict {
  const lines = held.toString('utf8').split(/\r\n|\n|\r/);
  const rest = lines.pop() ?? '';
  // What ends without a blank line has said all that it will say.
  if (ended) lines.push(rest, '');
  let name: string | undefined;
  let data: string[] = [];
  for (const line of lines) {
    if (line === '') {
      const verdict = judgeEvent(name, data.join('\n'));
      if (verdict !== 'undecided') return verdict;
      name = undefined;
      data = [];
    } else if (!isField(line, true)) {
      return 'answer';
    } else if (line.startsWith('event:')) {
      name = line.slice(6).trim();
      if (name !== 'error' && name !== 'ping') return 'answer';
    } else if (line.startsWith('data:')) {
      data.push(line.slice(5));
      if (name === undefined && SAYS_OTHER.test(line.slice(5))) return 'answer';
    }
  }
  if (ended) return 'undecided';
  return isField(rest, false) ? 'undecided' : 'answer';
}

/** Whether a line is one of the format, or may still become one. */
function isField(line: string, whole: boolean): boolean {
  return FIELDS.some((field) => line.startsWith(field) || (!whole && field.startsWith(line)));
}

function judgeEvent(name: string | undefined, data: string): Verdict {
  if (data === '' && name !== 'error') return 'undecided';
  if (name === 'ping' || SAYS_PING.test(data)) return 'undecided';
  if (name === 'error' || SAYS_ERROR.test(data)) return errorInside(Buffer.from(data.trim()));
  return 'answer';
}

const DOCUMENT_BEGINNINGS = ['{"error":', '{"type":"error"'];

/** A message begins with its id, its type or its model, so that an error is known by its first member. */
function judgeDocument(held: Buffer, ended: boolean): Verdict {
  const text = held.toString('latin1', 0, 256).replace(/\s+/g, '');
  if (DOCUMENT_BEGINNINGS.some((beginning) => text.startsWith(beginning))) {
    if (!ended) return 'undecided';
    return providerErrorOf(held) === undefined ? 'answer' : errorInside(held);
  }
  if (ended) return text === '' ? 'undecided' : 'answer';
  return DOCUMENT_BEGINNINGS.some((beginning) => beginning.startsWith(text)) ? 'undecided' : 'answer';
}

function errorInside(body: Buffer): ErrorInside {
  const error = providerErrorOf(body);
  return { status: error === undefined ? 500 : statusOf(error), body };
}
