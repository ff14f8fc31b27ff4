import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { bodyWith, DEAR, startBed, type Bed } from './bed.ts';
import type { Fault } from './cloud-conduct.ts';

const TTFB_MS = 1_500;
const RICH = Array.from({ length: 32 }, (_, at) => `rich-${at}`);
const SEARCH = [{ type: 'web_search_20250305', name: 'web_search', max_uses: 3 }];
const ADVISOR = [{ type: 'advisor_20260301', name: 'advisor', model: DEAR, max_uses: 3 }];
/** What no client has asked for, and a page of the gateway's own origin would act upon. */
const UNASKED = {
  'set-cookie': 'session=stolen',
  'x-internal-host': 'inference-7.corp.example',
  location: 'https://elsewhere.example/',
  'clear-site-data': '"*"',
  'strict-transport-security': 'max-age=31536000',
};
const INTERIM = [
  'HTTP/1.1 102 Processing\r\n\r\n',
  'HTTP/1.1 103 Early Hints\r\nlink: </x.css>; rel=preload\r\n\r\n',
  'HTTP/1.1 103 Early Hints\r\n\r\n'.repeat(20),
];

let bed: Bed;
let preamble = '';
let headers: Record<string, string> = {};
beforeAll(async () => {
  bed = await startBed({
    caps: Object.fromEntries(RICH.map((sub) => [sub, '1000.00'])),
    config: { timeouts: { upstream_ttfb_ms: TTFB_MS } },
    preamble: () => preamble,
    headers: () => headers,
  });
}, 120_000);
afterAll(() => bed?.stop());

let used = 0;
function somebody(): string {
  return RICH[used++] as string;
}

describe('an upstream that has the request and gives no answer', () => {
  const bodies: [string, object][] = [
    ['a stream', {}],
    ['a document', { stream: false }],
    ['searches', { tools: SEARCH }],
    ['an advisor', { tools: ADVISOR }],
  ];
  const faults: Fault[] = ['break before the first byte', 'break behind the headers', 'stall'];
  const cases = faults.flatMap((fault) => bodies.map(([name, members]) => [fault, name, members] as const));
  it.each(cases)(
    'is charged no less than it bills: %s, %s',
    async (fault, _, members) => {
      const sub = somebody();
      const body = bodyWith({ max_tokens: 3_000, ...members });
      const account = await bed.ask(sub, body, { fault, output: 3_000, searches: 3, consultations: 3 });
      expect([502, 504]).toContain(account.got.status);
      expect(account.bills.length).toBeGreaterThan(0);
      expect(account.billed).toBeGreaterThan(0n);
      expect(await bed.charged(sub)).toBeGreaterThanOrEqual(account.billed);
      // What came before is no reason to refuse the next one.
      expect((await bed.ask(sub, bodyWith({}))).got.status).toBe(200);
    },
    60_000,
  );
});

describe('what an upstream says that nobody asked for', () => {
  it.each([true, false])('does not reach the client as headers (stream: %s)', async (stream) => {
    headers = UNASKED;
    const sub = somebody();
    const account = await bed.ask(sub, bodyWith({ stream }));
    headers = {};
    expect(account.got).toMatchObject({ status: 200, whole: true });
    expect(Object.keys(UNASKED).filter((name) => name in account.got.headers)).toEqual([]);
    expect(await bed.charged(sub)).toBe(account.billed);
  });

  it.each(INTERIM)('is ignored before the answer: %j', async (interim) => {
    preamble = interim;
    const sub = somebody();
    const account = await bed.ask(sub, bodyWith({}));
    preamble = '';
    expect(account.got).toMatchObject({ status: 200, whole: true });
    expect(await bed.charged(sub)).toBe(account.billed);
  });
});
