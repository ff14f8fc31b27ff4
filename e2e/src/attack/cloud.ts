import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { writeAnswer } from './cloud-answer.ts';
import { costOf, countedInput, inputOf, isForSale, type AskedBody, type Bill } from './cloud-bill.ts';
import { errorOf, sendJson, type Conduct } from './cloud-conduct.ts';
import { ADVISOR, AT_WORK, toolsOf } from './cloud-tools.ts';

/** Of a request that the cloud got. */
export interface Arrival {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
  readonly rawHeaders: readonly string[];
  readonly body: string;
}

/** An upstream of the Messages API that keeps a bill of its own, and misbehaves on demand. On 127.0.0.1 only. */
export interface Cloud {
  readonly url: string;
  /** One for each `POST /v1/messages`, in order of arrival. */
  readonly bills: readonly Bill[];
  readonly arrivals: readonly Arrival[];
  /** Everything that was billed for requests with that marker. */
  billsOf(marker: string): readonly Bill[];
  /** Resolves when no answer is being written any more. @throws Error when that takes too long. */
  idle(timeoutMs?: number): Promise<void>;
  /** Answers a request whose body somebody else has read already. */
  handle(incoming: IncomingMessage, body: string, response: ServerResponse): Promise<void>;
  stop(): Promise<void>;
}

export interface CloudOptions {
  /** @param upstream As on the bill. */
  readonly conductOf: (marker: string, upstream: string) => Conduct;
  /** Written to the socket before everything else that is answered. */
  readonly preamble?: (marker: string) => string;
  readonly headers?: (marker: string) => Record<string, string>;
}

/** Has to be somewhere in a body, so that its bill can be found. Letters, digits and dashes. */
export function markerOf(name: string): string {
  return `<<${name}>>`;
}

/** Several upstreams may be one cloud, each with a name before the path. */
const PATH = /^(?:\/(\w+))??(\/v1\/messages.*)$/;
const MARKER = /<<([\w-]+)>>/;

export async function startCloud(options: CloudOptions): Promise<Cloud> {
  const bills: Bill[] = [];
  const byMarker = new Map<string, Bill[]>();
  const arrivals: Arrival[] = [];

  const handle = async (incoming: IncomingMessage, text: string, response: ServerResponse): Promise<void> => {
    const { method = '', url = '', headers, rawHeaders } = incoming;
    arrivals.push({ method, url, headers, rawHeaders, body: text });
    let body: AskedBody;
    try {
      const parsed: unknown = JSON.parse(text);
      body = typeof parsed === 'object' && parsed !== null ? parsed : {};
    } catch {
      sendJson(response, 400, errorOf('invalid_request_error', 'not JSON'));
      return;
    }
    const marker = MARKER.exec(text)?.[1] ?? '';
    const [, upstream = '', path] = PATH.exec(url) ?? [];
    if (path?.startsWith('/v1/messages/count_tokens') === true) {
      sendJson(response, 200, { input_tokens: countedInput(body) });
      return;
    }
    if (path === undefined || !Number.isInteger(body.max_tokens) || Number(body.max_tokens) < 1) {
      sendJson(response, 400, errorOf('invalid_request_error', 'max_tokens: must be a whole number'));
      return;
    }
    const advisors = toolsOf(body).filter(({ type }) => ADVISOR.test(type));
    if (![body.model, ...advisors.map(({ model }) => model)].every(isForSale)) {
      sendJson(response, 404, errorOf('not_found_error', 'model: not for sale'));
      return;
    }
    const { inference_geo: place } = body;
    if (place !== undefined && place !== null && place !== 'global' && place !== 'us') {
      sendJson(response, 400, errorOf('invalid_request_error', 'inference_geo: unknown place'));
      return;
    }
    const samplings = [{ model: String(body.model), tokens: inputOf(body, text) }];
    const inOnePlace = place === 'us';
    const bill: Bill = {
      number: bills.length,
      marker,
      upstream,
      samplings,
      inOnePlace,
      costOfReading: costOf({ samplings, inOnePlace }),
      worksUnseen: body.stream !== true || toolsOf(body).some(({ type }) => AT_WORK.test(type)),
      costWhenGone: undefined,
      end: 'open',
    };
    bills.push(bill);
    byMarker.set(marker, [...(byMarker.get(marker) ?? []), bill]);
    const preamble = options.preamble?.(marker) ?? '';
    if (preamble !== '') response.socket?.write(preamble);
    const conduct = options.conductOf(marker, upstream);
    await writeAnswer({ body, bill, conduct, response, headers: options.headers?.(marker) ?? {} });
  };

  const server = createServer({ keepAliveTimeout: 60_000 }, (incoming, response) => {
    response.on('error', () => response.destroy());
    read(incoming)
      .then((body) => handle(incoming, body, response))
      .catch(() => response.destroy());
  });
  await new Promise<void>((done, fail) => server.once('error', fail).listen(0, '127.0.0.1', done));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    bills,
    arrivals,
    billsOf: (marker) => byMarker.get(marker) ?? [],
    handle,
    async idle(timeoutMs = 30_000) {
      const deadline = performance.now() + timeoutMs;
      while (bills.some(({ end }) => end === 'open')) {
        if (performance.now() > deadline) throw new Error('the cloud still answers');
        await new Promise((done) => setTimeout(done, 20));
      }
    },
    async stop() {
      const closed = new Promise<void>((done) => server.close(() => done()));
      server.closeAllConnections();
      await closed;
    },
  };
}

async function read(incoming: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}
