import { Agent, request } from 'node:http';
import { markerOf } from './metered-upstream.ts';

/** What a developer asks. */
export interface Ask {
  readonly index: number;
  readonly model: string;
  readonly maxTokens: number;
  /** Bytes of the whole body. */
  readonly bytes: number;
  readonly stream: boolean;
  readonly cache: 'none' | '5m' | '1h';
  /** How many searches the model may do at most. */
  readonly webSearches: number;
  /** The client goes away this long after it asked, in ms. */
  readonly abortAfterMs?: number;
}

/** What the developer got. */
export interface Got {
  /** 0: no answer at all. */
  readonly status: number;
  readonly requestId: string | undefined;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** To its last byte. */
  readonly whole: boolean;
  /** Of the answer's body, as far as it came. */
  readonly body: string;
  /** `performance.now()` */
  readonly askedAt: number;
  readonly endedAt: number;
  readonly error?: string;
}

/** The body of a request, of exactly so many bytes where that is possible. */
export function bodyOf(ask: Ask): Buffer {
  const text: Record<string, unknown> = { type: 'text', text: markerOf(ask.index) };
  if (ask.cache !== 'none') {
    text['cache_control'] = ask.cache === '1h' ? { type: 'ephemeral', ttl: '1h' } : { type: 'ephemeral' };
  }
  const request: Record<string, unknown> = {
    model: ask.model,
    max_tokens: ask.maxTokens,
    messages: [{ role: 'user', content: [text] }],
    ...(ask.stream ? { stream: true } : {}),
    ...(ask.webSearches > 0
      ? { tools: [{ type: 'web_search_20250305', name: 'web_search', max_uses: ask.webSearches }] }
      : {}),
  };
  const missing = ask.bytes - Buffer.byteLength(JSON.stringify(request));
  if (missing > 0) text['text'] = `${markerOf(ask.index)}${'x'.repeat(missing)}`;
  return Buffer.from(JSON.stringify(request));
}

/** Connections of many developers to one gateway. */
export class Client {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: Infinity });

  /** Asks, and never throws: what goes wrong is part of what is looked at. */
  ask(url: string, bearer: string, ask: Ask): Promise<Got> {
    const { abortAfterMs } = ask;
    return this.send(url, bearer, bodyOf(ask), abortAfterMs === undefined ? {} : { abortAfterMs });
  }

  send(
    url: string,
    bearer: string,
    body: Buffer,
    options: { readonly abortAfterMs?: number; readonly session?: string } = {},
  ): Promise<Got> {
    const { abortAfterMs, session } = options;
    return new Promise((done) => {
      const askedAt = performance.now();
      let status = 0;
      let headers: Got['headers'] = {};
      const chunks: Buffer[] = [];
      let abort: NodeJS.Timeout | undefined;
      let ended = false;
      const end = (whole: boolean, error?: string): void => {
        if (ended) return;
        ended = true;
        clearTimeout(abort);
        const requestId = headers['request-id'];
        done({
          status,
          requestId: typeof requestId === 'string' ? requestId : undefined,
          headers,
          whole,
          body: Buffer.concat(chunks).toString(),
          askedAt,
          endedAt: performance.now(),
          ...(error === undefined ? {} : { error }),
        });
      };
      const outgoing = request(
        `${url}/v1/messages?beta=true`,
        {
          method: 'POST',
          agent: this.#agent,
          headers: {
            authorization: `Bearer ${bearer}`,
            'content-type': 'application/json',
            'anthropic-version': '2023-06-01',
            'content-length': body.length,
            ...(session === undefined ? {} : { 'x-claude-code-session-id': session }),
          },
        },
        (response) => {
          status = response.statusCode ?? 0;
          headers = response.headers;
          response.on('data', (chunk: Buffer) => chunks.push(chunk));
          response.on('end', () => end(response.complete));
          response.on('error', (error) => end(false, error.message));
          response.on('close', () => end(false, 'closed'));
        },
      );
      outgoing.on('error', (error) => end(false, error.message));
      outgoing.end(body);
      if (abortAfterMs !== undefined) {
        abort = setTimeout(() => {
          end(false, 'aborted by the test');
          outgoing.destroy();
        }, abortAfterMs);
      }
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}
