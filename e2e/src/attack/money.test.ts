import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { usd } from '../spend/caps.ts';
import { billedIn, bodyWith, CHEAP, DEAR, startBed, statuses, type Bed } from './bed.ts';
import type { Conduct } from './cloud-conduct.ts';

const SEARCH = { type: 'web_search_20250305', name: 'web_search' };
/** So many that each case has a cap of its own, which the others have not spent. */
const RICH = Array.from({ length: 64 }, (_, at) => `rich-${at}`);

let bed: Bed;
beforeAll(async () => {
  bed = await startBed({
    caps: {
      ...Object.fromEntries(RICH.map((sub) => [sub, '100.00'])),
      ...Object.fromEntries(['cent-0', 'cent-1', 'cent-2', 'cent-3'].map((sub) => [sub, '0.01'])),
      'three-cents': '0.03',
      'one-dollar': '1.00',
      'one-dollar-b': '1.00',
    },
    config: {
      managed: {
        policies: [{ match: {}, cli: { availableModels: [CHEAP, DEAR], enforceAvailableModels: true } }],
      },
    },
  });
}, 120_000);
afterAll(() => bed?.stop());

let used = 0;
function somebodyRich(): string {
  return RICH[used++] as string;
}

describe('money 1: an error of PostgreSQL is not an outage', () => {
  it.each(['1000000000000000', '9223372036854775808', '1e308', '1e999', '-1', '0.5', '"many"', 'null'])(
    'max_uses %s is not served above the cap, and does not fail others in its batch',
    async (uses) => {
      const huge = bodyWith({ tools: [SEARCH] }).replace('"web_search"}', `"web_search","max_uses":${uses}}`);
      const neighbour = somebodyRich();
      const before = await bed.charged('cent-0');
      const [attack, honest] = await Promise.all([
        Promise.all(Array.from({ length: 10 }, () => bed.ask('cent-0', huge, { searches: 10 }))),
        Promise.all(Array.from({ length: 10 }, () => bed.ask(neighbour, bodyWith({})))),
      ]);
      expect(statuses(honest)).toEqual({ 200: 10 });
      expect(before + billedIn(attack)).toBeLessThanOrEqual(usd('0.01'));
      expect(await bed.charged('cent-0')).toBeGreaterThanOrEqual(before + billedIn(attack));
    },
  );

  it.each(['1e308', '9007199254740993', '9223372036854775808', '-5', '1.5', '"32000"', 'null'])(
    'max_tokens %s cannot make a statement of the ledger fail',
    async (tokens) => {
      const body = bodyWith({}).replace('"max_tokens":200', `"max_tokens":${tokens}`);
      const neighbour = somebodyRich();
      const [attack, honest] = await Promise.all([
        Promise.all(Array.from({ length: 5 }, () => bed.ask('cent-1', body, { output: 1_000_000 }))),
        Promise.all(Array.from({ length: 5 }, () => bed.ask(neighbour, bodyWith({})))),
      ]);
      expect(statuses(honest)).toEqual({ 200: 5 });
      expect(Object.keys(statuses(attack)).filter((status) => Number(status) >= 500)).toEqual([]);
      expect(await bed.charged('cent-1')).toBeGreaterThanOrEqual(billedIn(attack));
      expect(await bed.charged('cent-1')).toBeLessThanOrEqual(usd('0.01'));
    },
  );
});

describe('money 3: hanging up early is no discount', () => {
  const LIES: [string, object, Conduct][] = [
    ['Chinese text', {}, { language: 'chinese', output: 4_000, pieces: 40, pieceMs: 10 }],
    [
      'hidden thinking',
      { thinking: { type: 'enabled', budget_tokens: 3_000 } },
      { hiddenThinking: 3_000, output: 3_100, pieceMs: 60 },
    ],
    ['a document', { stream: false }, { output: 3_000, pieces: 10, pieceMs: 40 }],
    ['web searches', { tools: [{ ...SEARCH, max_uses: 2 }] }, { searches: 2, pieceMs: 100 }],
    ['an answer that comes late', {}, { delayMs: 400, output: 2_000 }],
  ];
  it.each(LIES)('%s is charged the whole bill', async (_, members, conduct) => {
    const sub = somebodyRich();
    const body = bodyWith({ max_tokens: 4_000, ...members }, DEAR);
    const account = await bed.ask(sub, body, conduct, { abortAfterMs: 150 });
    expect(account.got.whole).toBe(false);
    expect(await bed.charged(sub)).toBe(account.billed);
    expect(account.billed).toBeGreaterThan(0n);
  });

  it('a strict cap holds against the bill, however often somebody hangs up', async () => {
    const accounts = [];
    for (let round = 0; round < 24; round++) {
      const [, members, conduct] = LIES[round % 3] as (typeof LIES)[number];
      accounts.push(
        await bed.ask('one-dollar', bodyWith({ max_tokens: 4_000, ...members }, DEAR), conduct, {
          abortAfterMs: 20 + 40 * (round % 7),
        }),
      );
    }
    const charged = await bed.charged('one-dollar');
    expect(billedIn(accounts)).toBeGreaterThan(usd('0.30'));
    expect(billedIn(accounts)).toBeLessThanOrEqual(charged);
    expect(charged).toBeLessThanOrEqual(usd('1.00'));
  });
});

describe('money 4: every model in a request counts', () => {
  const advisor = (model: string): object => ({
    type: 'advisor_20260301',
    name: 'advisor',
    model,
    max_uses: 3,
  });

  it('an advisor is charged at its own price', async () => {
    const sub = somebodyRich();
    const account = await bed.ask(sub, bodyWith({ tools: [advisor(DEAR)] }), { consultations: 3 });
    expect(account.got).toMatchObject({ status: 200 });
    expect(account.bills[0]?.samplings).toHaveLength(4);
    expect(await bed.charged(sub)).toBe(account.billed);
  });

  it('an advisor that does not fit a small cap at its own price is not asked', async () => {
    const account = await bed.ask('cent-2', bodyWith({ tools: [advisor(DEAR)] }), { consultations: 3 });
    expect(account.got.status).toBe(429);
    expect(account.bills).toEqual([]);
  });

  it.each([
    ['of a tool', { tools: [advisor('claude-fable-5')] }],
    ['of the second tool', { tools: [{ name: 'x', input_schema: {} }, advisor('claude-fable-5')] }],
    [
      'of a tool, escaped',
      { tools: [advisor('claude-fable-5')] },
      (body: string) => body.replace('"model":"claude-fable', '"mod\\u0065l":"claude-f\\u0061ble'),
    ],
    ['of a fallback', { fallbacks: [{ model: 'claude-fable-5' }] }],
    ['of a tool that nobody knows', { tools: [{ type: 'oracle_20290101', name: 'oracle', model: CHEAP }] }],
  ] as [string, object, ((body: string) => string)?][])(
    'a model %s that is not allowed is refused',
    async (_, members, change = (body) => body) => {
      const account = await bed.ask(somebodyRich(), change(bodyWith(members)), { consultations: 1 });
      expect([400, 403, 404]).toContain(account.got.status);
      expect(account.bills).toEqual([]);
    },
  );
});

describe('money 5: what is billed is bounded', () => {
  const schema = {
    type: 'object',
    properties: Object.fromEntries(
      Array.from({ length: 2_000 }, (_, at) => [
        `field${at}`,
        { type: 'string', description: 'x'.repeat(40) },
      ]),
    ),
  };
  it.each([
    ['output_config', { output_config: { format: { type: 'json_schema', schema } } }],
    ['output_format', { output_format: { type: 'json_schema', schema } }],
  ])('a schema in %s is not free', async (_, members) => {
    const tiny = await bed.ask('three-cents', bodyWith(members));
    expect(tiny.got).toMatchObject({ status: 429 });
    expect(tiny.bills).toEqual([]);
    const sub = somebodyRich();
    const account = await bed.ask(sub, bodyWith(members));
    expect(account.got).toMatchObject({ status: 200 });
    expect(await bed.charged(sub)).toBe(account.billed);
  });

  it.each([
    ['in a tool', '{"type":"web_search_20250305","name":"web_search","max_uses":1,"max_uses":10}'],
    [
      'in a tool, escaped',
      '{"type":"web_search_20250305","name":"web_search","max_uses":1,"max\\u005fuses":10}',
    ],
    [
      'in a tool, its type',
      '{"type":"custom","name":"web_search","type":"web_search_20250305","max_uses":10}',
    ],
  ])('a name that stands twice %s is no way around', async (_, tool) => {
    const body = bodyWith({ tools: [] }).replace('"tools":[]', `"tools":[${tool}]`);
    const sub = somebodyRich();
    const account = await bed.ask(sub, body, { searches: 10 });
    if (account.got.status !== 400) expect(await bed.charged(sub)).toBe(account.billed);
    const tiny = await bed.ask('cent-3', body, { searches: 10 });
    expect(tiny.bills).toEqual([]);
  });

  it('one place costs a tenth more, in the hold and in the charge', async () => {
    const sub = somebodyRich();
    const account = await bed.ask(sub, bodyWith({ inference_geo: 'us', max_tokens: 3_000 }, DEAR), {
      output: 3_000,
    });
    expect(account.got).toMatchObject({ status: 200 });
    expect(account.bills[0]?.inOnePlace).toBe(true);
    expect(await bed.charged(sub)).toBe(account.billed);
  });

  it.each([
    ['no usage', 'omit'],
    ['an empty usage', { says: {} }],
    ['a usage of null', { says: null }],
    ['texts', { says: { input_tokens: '7', output_tokens: 'none' } }],
    ['negative counts', { says: { input_tokens: -5, output_tokens: -1 } }],
    ['fractions', { says: { input_tokens: 0.1, output_tokens: 0.2 } }],
    ['a list', { says: [1, 2, 3] }],
    ['zeros', { says: { input_tokens: 0, output_tokens: 0 } }],
  ] as [string, Conduct['usage']][])(
    '%s from the upstream is not free under a strict cap',
    async (_, usage) => {
      for (const stream of [true, false]) {
        const sub = somebodyRich();
        const account = await bed.ask(sub, bodyWith({ stream }), {
          output: 150,
          ...(usage === undefined ? {} : { usage }),
        });
        expect(account.got).toMatchObject({ status: 200 });
        expect(await bed.charged(sub)).toBeGreaterThanOrEqual(account.billed);
      }
    },
  );

  it.each(['1e308', '9223372036854775808', '1e15', '2147483648'])(
    'counts of %s are kept, and neighbours served',
    async (count) => {
      const says = JSON.parse(`{"input_tokens":${count},"output_tokens":${count}}`) as object;
      const sub = somebodyRich();
      const accounts = await Promise.all([
        bed.ask(sub, bodyWith({}), { usage: { says } }),
        ...Array.from({ length: 5 }, () =>
          bed.ask('one-dollar-b', bodyWith({ max_tokens: 20 }), { output: 20 }),
        ),
      ]);
      expect(statuses(accounts)).toEqual({ 200: 6 });
      expect(await bed.charged(sub)).toBeGreaterThanOrEqual(usd('100.00'));
      const after = await bed.ask(sub, bodyWith({}));
      expect(after.got.status).toBe(429);
    },
  );
});
