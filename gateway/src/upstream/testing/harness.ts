import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Dispatcher } from 'undici';
import { AddressSet } from '../../http/client-address.ts';
import { USUAL_TRAFFIC } from '../../http/testing/usual-traffic.ts';
import { Listener } from '../../http/listener.ts';
import { createAgent } from '../../net/http-client.ts';
import { createLog } from '../../observe/log.ts';
import type { Principal } from '../../principal.ts';
import { createAnthropicUpstream, type AnthropicConfig } from '../anthropic.ts';
import { createInference, type Inference, type InferenceDeps, type ModelPolicy } from '../inference.ts';

const PRINCIPAL: Principal = {
  sub: 'u1',
  email: 'u1@corp.example',
  groups: ['eng'],
  sid: 's1',
  kind: 'user',
  expiresAt: 4_102_444_800,
};

/** Every model is allowed and goes by its own name. */
export const OPEN_POLICY: ModelPolicy = {
  checkModel: (_principal, requested) => ({ canonical: requested }),
  allowsEveryModel: () => true,
  upstreamModel: (model) => model,
};

export const HELLO = {
  model: 'claude-opus-4-8',
  max_tokens: 10,
  messages: [{ role: 'user', content: 'hello' }],
};

export interface TestGateway {
  readonly url: string;
  readonly inference: Inference;
  readonly log: Record<string, unknown>[];
  readonly audit: Record<string, unknown>[];
}

/** Servers of one test file, stopped together. */
export class TestBed {
  readonly #cleanups: (() => Promise<unknown>)[] = [];

  async close(): Promise<void> {
    for (const cleanup of this.#cleanups.splice(0).reverse()) await cleanup();
  }

  /** A server on a free port of 127.0.0.1. @returns its origin. */
  async serve(listener: RequestListener): Promise<{ url: string; server: Server }> {
    const server = createServer(listener);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    this.#cleanups.push(async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    });
    return { url: originOf(server), server };
  }

  agent(): Dispatcher {
    const agent = createAgent({ allowLoopback: true, headersTimeoutMs: 0, bodyTimeoutMs: 0 });
    this.#cleanups.push(() => agent.destroy());
    return agent;
  }

  /** A gateway in front of these upstreams; a text is the base URL of one with an API key. */
  async gateway(
    upstreams: readonly (string | Omit<AnthropicConfig, 'provider'>)[],
    overrides: Partial<InferenceDeps> = {},
  ): Promise<TestGateway> {
    const dispatcher = this.agent();
    const log: Record<string, unknown>[] = [];
    const audit: Record<string, unknown>[] = [];
    const inference = createInference({
      dispatcher,
      policy: OPEN_POLICY,
      audit: (event, fields) => audit.push({ event, ...fields }),
      limits: { max_request_bytes: 1024 * 1024 },
      timeouts: { upstream_ttfb_ms: 10_000 },
      upstreams: upstreams.map((upstream, index) =>
        createAnthropicUpstream(
          {
            provider: 'anthropic',
            name: `up${index}`,
            ...(typeof upstream === 'string' ? { base_url: upstream, auth: { api_key: 'key' } } : upstream),
          },
          { dispatcher, userAgent: 'claude-gateway/0' },
        ),
      ),
      ...overrides,
    });
    const none = new AddressSet([]);
    const listener = new Listener(
      {
        host: '127.0.0.1',
        port: 0,
        maxHeaderBytes: undefined,
        log: createLog('info', { write: (line) => log.push(JSON.parse(line) as Record<string, unknown>) }),
        audit: () => undefined,
      },
      { trustedProxies: none, allow: none, deny: none, maxUrlLength: undefined, traffic: USUAL_TRAFFIC },
      (request, response, context) => inference.handle(request, response, context, PRINCIPAL),
    );
    const port = await listener.listen();
    this.#cleanups.push(() => listener.drain(0, 0));
    return { url: `http://127.0.0.1:${port}`, inference, log, audit };
  }
}

export function originOf(server: Server): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

export async function readAll(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Posts to `/v1/messages?beta=true`. */
export function post(
  gateway: TestGateway,
  body: string | object = HELLO,
  headers: Record<string, string> = {},
  path = '/v1/messages',
): Promise<Response> {
  return fetch(`${gateway.url}${path}?beta=true`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
}

/** Waits until a condition holds; the test's own time limit ends it. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(5);
}
