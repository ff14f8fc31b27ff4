import type { Socket } from 'node:net';

const STATUS_LINE = Buffer.from('HTTP/1.1 100 ', 'latin1');
/** Where the status code stands in it. */
const STATUS_AT = 9;
const ONE = 0x31;
const END = '\r\n\r\n';
/** Longer interim responses are left to the parser, which then ends the connection. */
const MAX_INTERIM_BYTES = 16 * 1024;

/**
 * Hides interim responses (1xx) that a server sends before its answer, in place. Nobody asked for one, and a client
 * may ignore them (RFC 9110 §15.2), but undici takes a 100 for the end of the connection. A 101 is no interim response:
 * the server would speak another protocol from there.
 *
 * @param socket Of a connection on which one request follows the other.
 */
export function ignoreInterim<S extends Socket>(socket: S): S {
  const read = socket.read.bind(socket);
  const write = socket.write.bind(socket) as (...args: unknown[]) => boolean;
  /** A request has gone out, and its answer has not begun. */
  let waiting = false;
  let held: Buffer | undefined;

  socket.write = (...args: unknown[]): boolean => {
    waiting = true;
    return write(...args);
  };
  socket.read = (size?: number): Buffer | null => {
    for (;;) {
      const chunk = read(size) as Buffer | null;
      if (!waiting || chunk === null) return chunk;
      const bytes = held === undefined ? chunk : Buffer.concat([held, chunk]);
      held = undefined;
      const rest = behindInterim(bytes);
      if (rest === undefined && bytes.length <= MAX_INTERIM_BYTES) {
        held = bytes;
        continue;
      }
      if (rest?.length === 0) continue;
      waiting = false;
      return rest ?? bytes;
    }
  };
  return socket;
}

/** What follows the interim responses at the start; undefined: one of them, or its first line, is not there as a whole. */
function behindInterim(bytes: Buffer): Buffer | undefined {
  let rest = bytes;
  while (rest.length > 0) {
    if (!startsLikeStatus(rest)) return rest;
    if (rest.length < STATUS_LINE.length) return undefined;
    const code = rest.toString('latin1', STATUS_AT, STATUS_AT + 3);
    if (rest[STATUS_AT] !== ONE || code === '101') return rest;
    const end = rest.indexOf(END);
    if (end === -1) return undefined;
    rest = rest.subarray(end + END.length);
  }
  return rest;
}

/** Whether it begins as a status line does, up to the code. */
function startsLikeStatus(bytes: Buffer): boolean {
  const length = Math.min(bytes.length, STATUS_AT);
  return bytes.compare(STATUS_LINE, 0, length, 0, length) === 0;
}
