import type { ServerResponse } from 'node:http';

/** How the cloud treats one request. What is left out is done as an honest one does it. */
export interface Conduct {
  /** Tokens that it would like to write, thinking included; `max_tokens` cuts them. */
  readonly output?: number;
  /** The first so many of them are thinking that is not shown. */
  readonly hiddenThinking?: number;
  /** It does not even say that it has begun to think. */
  readonly silent?: boolean;
  /** Chinese has a token for each character of three bytes, English one for four characters. */
  readonly language?: 'english' | 'chinese';
  /** Web searches that the model would like to do; `max_uses` cuts them. */
  readonly searches?: number;
  /** How often it would like to ask its advisor; `max_uses` cuts it. */
  readonly consultations?: number;
  /** Before the answer begins, in ms. */
  readonly delayMs?: number;
  /** Into how many pieces a streamed answer is cut, and the pause before each, in ms. */
  readonly pieces?: number;
  readonly pieceMs?: number;
  /** Put in place of every usage object, whatever it is; `omit` leaves them out. Nothing changes on the bill. */
  readonly usage?: { readonly says: unknown } | 'omit';
  readonly fault?: Fault;
}

export type Fault =
  | { readonly status: number }
  /** Takes the request and never answers. */
  | 'stall'
  /** Takes the request and closes without a byte. */
  | 'break before the first byte'
  /** Sends headers, and nothing behind them. */
  | 'break behind the headers'
  /** Breaks off in the middle of an answer. */
  | 'break in the middle'
  /** As the last one, with a reset. */
  | 'reset in the middle';

export function errorOf(type: string, message: string): object {
  return { type: 'error', error: { type, message } };
}

export function sendJson(
  response: ServerResponse,
  status: number,
  value: unknown,
  headers: Record<string, string> = {},
): void {
  if (response.destroyed) return;
  const body = Buffer.from(JSON.stringify(value));
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': body.length,
    ...headers,
  });
  response.end(body);
}
