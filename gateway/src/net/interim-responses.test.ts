import { afterEach, describe, expect, it } from '@jest/globals';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Dispatcher } from 'undici';
import { createAgent } from './http-client.ts';

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

const HEAD = 'HTTP/1.1 200 OK\r\ncontent-length: ';
const CONTINUE = 'HTTP/1.1 100 Continue\r\n\r\n';
const HINTS = 'HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n';

/** A server that writes these pieces for each request, each by itself. */
async function speaking(
  pieces: readonly string[],
): Promise<{ agent: Dispatcher; origin: string; sockets: () => number }> {
  let sockets = 0;
  const server: Server = createServer((socket: Socket) => {
    sockets++;
    socket.setNoDelay(true);
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => {
      if (!chunk.toString().endsWith('{}')) return;
      void (async () => {
        for (const piece of pieces) {
          socket.write(piece, 'latin1');
          await sleep(5);
        }
      })();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const agent = createAgent({ allowLoopback: true, connections: 1 });
  closing.push(
    () => agent.destroy(),
    () => server.close(),
  );
  return {
    agent,
    origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    sockets: () => sockets,
  };
}

async function ask({ agent, origin }: { agent: Dispatcher; origin: string }): Promise<string> {
  const { statusCode, body } = await agent.request({ origin, path: '/', method: 'POST', body: '{}' });
  return `${statusCode} ${await body.text()}`;
}

describe('interim responses that nobody asked for', () => {
  it.each([
    ['with the answer', [`${CONTINUE}${HEAD}2\r\n\r\n{}`]],
    ['by themselves', [CONTINUE, `${HEAD}2\r\n\r\n{}`]],
    ['several', [CONTINUE, HINTS + CONTINUE, 'HTTP/1.1 102 Processing\r\n\r\n', `${HEAD}2\r\n\r\n{}`]],
    ['in small pieces', [...CONTINUE, ...HEAD, '2\r\n\r\n', '{}']],
    ['none', [`${HEAD}2\r\n\r\n`, '{}']],
  ])('are ignored, on a connection that goes on: %s', async (_name, pieces) => {
    const server = await speaking(pieces);
    for (let i = 0; i < 3; i++) expect(await ask(server)).toBe('200 {}');
    expect(server.sockets()).toBe(1);
  });

  it('are not taken out of a body', async () => {
    const server = await speaking([`${HEAD}${CONTINUE.length * 2}\r\n\r\n`, CONTINUE, CONTINUE]);
    expect(await ask(server)).toBe(`200 ${CONTINUE}${CONTINUE}`);
  });

  it.each([
    ['another protocol', 'HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n'],
    ['one without an end', `HTTP/1.1 103 Early Hints\r\nx: ${'y'.repeat(40_000)}`],
  ])('are an error when they are %s', async (_name, text) => {
    await expect(ask(await speaking([text]))).rejects.toThrow();
  });
});
