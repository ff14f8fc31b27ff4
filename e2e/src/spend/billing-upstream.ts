import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BilledTokens } from './prices.ts';

/** What becomes of a request; its `metadata.user_id` says it. */
export type Conduct =
  /** Chinese, two tokens a character, in many pieces. */
  | 'chinese'
  /** Thinks without showing it, then writes little. */
  | 'thinking'
  /** Thinks so, and does not even say that it has begun. */
  | 'silent thinking'
  /** As `chinese`, and nothing before the client may be gone. */
  | 'late'
  /** Writes the whole answer before its first byte. */
  | 'document'
  /** Never answers at the first of two upstreams; as `chinese` at the other. */
  | 'mute'
  /** Breaks the connection behind its headers. */
  | 'broken';

export interface Bill {
  readonly conduct: Conduct;
  /** The path that the request came by: which upstream it is. */
  readonly upstream: string;
  readonly tokens: BilledTokens;
  readonly isOver: boolean;
}

/** An upstream that keeps its own bill: of what it read and wrote, whoever may still listen. On 127.0.0.1 only. */
export interface BillingUpstream {
  readonly url: string;
  readonly bills: readonly Bill[];
  stop(): Promise<void>;
}

const PIECES = 40;
const PIECE = '花费要准确，一分也不能少。'.repeat(5);
const TOKENS_PER_CHARACTER = 2;
/** What one write of text is billed. */
export const PIECE_TOKENS = TOKENS_PER_CHARACTER * PIECE.length;
const THINKING_TOKENS = 3_000;
/** Long enough for a client to be gone. */
const PAUSE_MS = 600;

interface Asked {
  readonly stream?: boolean;
  readonly max_tokens: number;
  readonly metadata: { readonly user_id: Conduct };
}

interface OpenBill {
  conduct: Conduct;
  upstream: string;
  tokens: BilledTokens;
  isOver: boolean;
}

export async function startBillingUpstream(): Promise<BillingUpstream> {
  const bills: OpenBill[] = [];
  const server = createServer((request, response) => {
    response.on('error', () => response.destroy());
    void read(request).then(async (body) => {
      const asked = JSON.parse(body) as Asked;
      if (request.url?.includes('count_tokens') === true) {
        response.end(JSON.stringify({ input_tokens: inputOf(body) }));
        return;
      }
      const bill: OpenBill = {
        conduct: asked.metadata.user_id,
        upstream: request.url?.split('/')[1] ?? '',
        tokens: {
          input: inputOf(body),
          output: 0,
          cacheRead: 0,
          cacheWrite5m: 0,
          cacheWrite1h: 0,
          webSearches: 0,
        },
        isOver: false,
      };
      bills.push(bill);
      await answer(asked, bill, response);
      bill.isOver = true;
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    bills,
    async stop() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}

async function answer(asked: Asked, bill: OpenBill, response: ServerResponse): Promise<void> {
  const write = (tokens: number): void => {
    bill.tokens = { ...bill.tokens, output: Math.min(asked.max_tokens, bill.tokens.output + tokens) };
  };
  const usage = (): object => ({ input_tokens: bill.tokens.input, output_tokens: bill.tokens.output });
  const gone = (): boolean => response.destroyed;
  const event = (value: { type: string; [member: string]: unknown }): void => {
    if (!gone()) response.write(`event: ${value.type}\ndata: ${JSON.stringify(value)}\n\n`);
  };
  const begin = (): void => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    event({ type: 'message_start', message: { type: 'message', usage: usage() } });
  };
  const text = async (pieces: number): Promise<void> => {
    event({ type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } });
    for (let piece = 0; piece < pieces && !gone(); piece++) {
      write(PIECE_TOKENS);
      event({ type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: PIECE } });
      await sleep(10);
    }
  };
  const end = (): void => {
    event({ type: 'message_delta', delta: { stop_reason: 'end_turn' }, usage: usage() });
    if (!gone()) response.end();
  };

  switch (bill.conduct) {
    case 'mute':
      if (bill.upstream === 'a') return;
      break;
    case 'broken':
      response.writeHead(200, { 'content-type': 'application/json' });
      response.flushHeaders();
      await sleep(100);
      response.destroy();
      return;
    case 'document':
      write(PIECES * PIECE_TOKENS);
      await sleep(PAUSE_MS);
      if (gone()) return;
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(
        JSON.stringify({
          type: 'message',
          content: [{ type: 'text', text: PIECE.repeat(PIECES) }],
          usage: usage(),
        }),
      );
      return;
    case 'late':
      await sleep(PAUSE_MS);
      break;
    case 'thinking':
    case 'silent thinking': {
      begin();
      if (bill.conduct === 'thinking') {
        event({ type: 'content_block_start', index: 0, content_block: { type: 'thinking', thinking: '' } });
      }
      for (let part = 0; part < 10 && !gone(); part++) {
        write(THINKING_TOKENS / 10);
        await sleep(PAUSE_MS / 10);
      }
      await text(1);
      end();
      return;
    }
    case 'chinese':
  }
  if (gone()) return;
  begin();
  await text(PIECES);
  end();
}

function inputOf(body: string): number {
  return Math.ceil(body.length / 3);
}

async function read(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}
