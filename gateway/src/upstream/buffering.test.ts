import { afterEach, describe, expect, it } from '@jest/globals';
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type ServerResponse } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { HELLO, TestBed, type TestGateway } from './testing/harness.ts';

/** What `NGINX_BIN` names, or the one on PATH. */
const NGINX =
  process.env['NGINX_BIN'] ??
  [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin']
    .map((directory) => join(directory, 'nginx'))
    .find((path) => existsSync(path));
if (NGINX === undefined) {
  process.stderr.write('SKIPPED: these tests need nginx: install it, or name it in NGINX_BIN\n');
}

const bed = new TestBed();
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  await bed.close();
});

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}

/** An nginx as people write it down who do not think of streams: everything is its default. @returns its origin. */
async function nginxBefore(gateway: TestGateway, binary: string): Promise<string> {
  const directory = mkdtempSync(join(tmpdir(), 'nginx-'));
  const port = await freePort();
  const configuration = join(directory, 'nginx.conf');
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((kind) => `${kind}_temp_path ${join(directory, kind)};`)
    .join(' ');
  writeFileSync(
    configuration,
    `daemon off; master_process off; pid ${join(directory, 'pid')}; error_log stderr crit;
     events {}
     http { access_log off; ${temporary}
       server { listen 127.0.0.1:${port}; location / { proxy_pass ${gateway.url}; } } }`,
  );
  const child = spawn(binary, ['-p', directory, '-e', 'stderr', '-c', configuration], { stdio: 'ignore' });
  const ended = once(child, 'exit');
  cleanups.push(async () => {
    child.kill('SIGKILL');
    await ended;
    rmSync(directory, { recursive: true, force: true });
  });
  while (!(await accepts(port))) await sleep(20);
  return `http://127.0.0.1:${port}`;
}

(NGINX === undefined ? describe.skip : describe)('behind a plain nginx', () => {
  it('each event arrives before the next one is sent', async () => {
    let upstream: ServerResponse | undefined;
    const { url } = await bed.serve((_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write('event: first\n\n');
      upstream = response;
    });
    const origin = await nginxBefore(await bed.gateway([url]), NGINX ?? '');
    const response = await fetch(`${origin}/v1/messages`, {
      method: 'POST',
      body: JSON.stringify({ ...HELLO, stream: true }),
    });
    const reader = (response.body as ReadableStream<Uint8Array>).getReader();
    for (const event of ['event: first\n\n', 'event: second\n\n', 'event: third\n\n']) {
      if (event !== 'event: first\n\n') upstream?.write(event);
      const { value } = await reader.read();
      expect(Buffer.from(value ?? []).toString()).toBe(event);
    }
    upstream?.end();
    expect((await reader.read()).done).toBe(true);
  });
});
