import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { UsageReportRow, UsageStore } from '@claude-gateway/prisma';
import { Router } from 'express';
import { randomUUID } from 'node:crypto';
import { createServer, get, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Writable } from 'node:stream';
import { createApp } from '../../http/app.ts';
import { setContext } from '../../http/context.ts';
import { createLog } from '../../observe/log.ts';
import { useStores } from '../../testing/stores.ts';
import { createUsageExport } from './usage-export.ts';

const log = createLog('silent', new Writable({ write: (_chunk, _encoding, done) => done() }));
const NOW = new Date('2026-11-20T12:30:00Z');
const servers: Server[] = [];
const postgres = useStores();

/** As the admin API mounts it. @returns its URL. */
async function serve(usage: Pick<UsageStore, 'report'>): Promise<string> {
  const admin = Router({ caseSensitive: true, strict: true });
  admin.use('/v1/organizations/usage', createUsageExport({ usage, clock: () => NOW }));
  const app = createApp([admin]);
  const server = createServer((request, response) => {
    setContext(request, { id: 'req_1', clientAddress: '127.0.0.1', log, startedAt: 0 });
    app(request, response);
  });
  servers.push(server);
  await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/organizations/usage`;
}

let url: string;

beforeAll(async () => {
  const rows = [
    ['ada', ['eng', 'leads'], 'opus', 'anthropic', 12_500_000_007n, '2026-11-01T10:00:00Z'],
    ['ada', ['eng'], 'sonnet', 'bedrock', 1n, '2026-11-01T23:30:00Z'],
    ['=cmd()', ['@ops'], 'sonnet', null, 500_000_000n, '2026-11-02T00:00:00Z'],
    ['bob', [], 'haiku', 'anthropic', 3n, '2026-11-19T12:00:00Z'],
  ] as const;
  const settlements = rows.map(([sub, groups, model, upstream, costNanoUsd, admittedAt]) => ({
    record: {
      id: randomUUID(),
      requestId: 'req_1',
      sub,
      kind: 'user' as const,
      email: null,
      name: null,
      groups,
      model,
      upstream,
      fastMode: false,
      inputTokens: 10,
      outputTokens: 20,
      cacheReadTokens: 30,
      cacheWrite5mTokens: 40,
      cacheWrite1hTokens: 50,
      webSearches: 1,
      costNanoUsd,
      outcome: 'complete' as const,
      status: 200,
      admittedAt: new Date(admittedAt),
      firstByteMs: 1,
      durationMs: 1,
    },
    windowIds: [],
  }));
  await postgres.store.ledger.settle(randomUUID(), { settlements, returns: [] });
  const seenAt = NOW;
  await postgres.store.usage.touch([
    { sub: 'ada', kind: 'user', email: 'ada@example.com', name: 'Ada, "the" first', groups: [], seenAt },
    { sub: '=cmd()', kind: 'workload', email: null, name: '\n=1+1', groups: [], seenAt },
  ]);
  url = await serve(postgres.store.usage);
});

afterAll(() => {
  for (const server of servers) server.close().closeAllConnections();
});

interface Answer {
  readonly data: readonly {
    readonly starting_at: string;
    readonly ending_at: string;
    readonly results: readonly Record<string, unknown>[];
  }[];
  readonly has_more: boolean;
  readonly next_page: string | null;
}

async function ask(query: string): Promise<Answer> {
  const response = await fetch(`${url}?${query}`);
  expect(response.status).toBe(200);
  return (await response.json()) as Answer;
}

const NOVEMBER = 'starting_at=2026-11-01T00:00:00Z&ending_at=2026-12-01T00:00:00Z';
const costs = ({ data }: Answer, ...keys: string[]) =>
  data.flatMap(({ starting_at, results }) =>
    results.map((result) => [
      starting_at.slice(0, 13),
      ...keys.map((key) => result[key]),
      result['cost_nano_usd'],
    ]),
  );

describe('GET /v1/organizations/usage as JSON', () => {
  it('says in buckets of days what was used, with names, and every kind of token', async () => {
    const answer = await ask(`${NOVEMBER}&group_by[]=user&group_by[]=model&group_by[]=upstream&limit=31`);
    expect(answer).toMatchObject({ has_more: false, next_page: null });
    expect(answer.data).toHaveLength(30);
    expect(answer.data[0]).toEqual({
      starting_at: '2026-11-01T00:00:00Z',
      ending_at: '2026-11-02T00:00:00Z',
      results: [
        {
          user_id: 'ada',
          user_email: 'ada@example.com',
          user_name: 'Ada, "the" first',
          user_kind: 'user',
          group: null,
          model: 'opus',
          upstream: 'anthropic',
          requests: 1,
          uncached_input_tokens: 10,
          cache_creation: { ephemeral_5m_input_tokens: 40, ephemeral_1h_input_tokens: 50 },
          cache_read_input_tokens: 30,
          output_tokens: 20,
          server_tool_use: { web_search_requests: 1 },
          cost_usd: '12.500000007',
          cost_nano_usd: '12500000007',
        },
        expect.objectContaining({ model: 'sonnet', cost_usd: '0.000000001' }),
      ],
    });
    expect(answer.data[1]!.results).toMatchObject([
      { user_id: '=cmd()', user_email: null, user_kind: 'workload', upstream: '', cost_usd: '0.50' },
    ]);
  });

  it('pages through buckets, and every one comes once', async () => {
    const days: string[] = [];
    let page = '';
    for (let count = 0; count < 20; count++) {
      const { data, has_more, next_page } = await ask(`${NOVEMBER}&limit=4${page}`);
      days.push(...data.map(({ starting_at }) => starting_at));
      expect(has_more).toBe(next_page !== null);
      if (next_page === null) break;
      page = `&page=${next_page}`;
    }
    expect(days).toEqual(
      Array.from({ length: 30 }, (_, day) => `2026-11-${String(day + 1).padStart(2, '0')}T00:00:00Z`),
    );
  });

  it('counts by group, where somebody in two counts twice', async () => {
    const answer = await ask(`${NOVEMBER}&bucket_width=all&group_by=group`);
    expect(costs(answer, 'group')).toEqual([
      ['2026-11-01T00', '', '3'],
      ['2026-11-01T00', '@ops', '500000000'],
      ['2026-11-01T00', 'eng', '12500000008'],
      ['2026-11-01T00', 'leads', '12500000007'],
    ]);
    expect(costs(await ask(`${NOVEMBER}&bucket_width=all`))).toEqual([['2026-11-01T00', '13000000011']]);
  });

  it('follows the days of a time zone, and ends now unless told otherwise', async () => {
    const berlin = await ask('starting_at=2026-11-01&time_zone=Europe/Berlin&limit=31');
    expect(costs(berlin)).toEqual([
      ['2026-10-31T23', '12500000007'],
      ['2026-11-01T23', '500000001'],
      ['2026-11-18T23', '3'],
    ]);
    expect(berlin.data.at(-1)!.ending_at).toBe('2026-11-20T12:30:00Z');
    const kolkata = await ask('starting_at=2026-11-01&time_zone=Asia/Kolkata&limit=2');
    expect(kolkata.data.map(({ starting_at }) => starting_at)).toEqual([
      '2026-10-31T18:30:00Z',
      '2026-11-01T18:30:00Z',
    ]);
  });

  it('keeps days of 23 and 25 hours whole', async () => {
    const days = async (query: string) =>
      (await ask(query)).data.map(
        ({ starting_at, ending_at }) => (Date.parse(ending_at) - Date.parse(starting_at)) / 3_600_000,
      );
    const zone = 'time_zone=Europe/Berlin';
    expect(await days(`starting_at=2026-03-28&ending_at=2026-03-31&${zone}`)).toEqual([24, 23, 24]);
    expect(await days(`starting_at=2026-10-24&ending_at=2026-10-27&${zone}`)).toEqual([24, 25, 24]);
    const hours = await days(`starting_at=2026-10-25&ending_at=2026-10-26&bucket_width=1h&limit=168&${zone}`);
    expect(hours).toEqual(Array.from({ length: 25 }, () => 1));
  });

  it('filters', async () => {
    const only = async (filter: string) => costs(await ask(`${NOVEMBER}&bucket_width=all&${filter}`));
    expect(await only('users[]=ADA@example.com')).toEqual([['2026-11-01T00', '12500000008']]);
    expect(await only('groups[]=leads&groups[]=@ops')).toEqual([['2026-11-01T00', '13000000007']]);
    expect(await only('models[]=haiku')).toEqual([['2026-11-01T00', '3']]);
    expect(await only('upstreams=bedrock')).toEqual([['2026-11-01T00', '1']]);
  });

  it.each([
    ['', 'starting_at: is required'],
    ['starting_at=yesterday', 'starting_at: must be a time'],
    ['starting_at=2026-11-01T00:00:00', 'starting_at: must be a time with its offset'],
    ['starting_at=2026-11-01&ending_at=2026-11-01', 'ending_at: must be later'],
    ['starting_at=2026-12-01', 'ending_at: must be later than starting_at; by default it is now'],
    ['starting_at=2026-11-01&bucket_width=1w', 'bucket_width: must be one of 1h, 1d, all'],
    ['starting_at=2026-11-01&time_zone=Berlin', 'time_zone: must be the name'],
    ['starting_at=2026-11-01&group_by[]=day', 'for days and hours there is bucket_width'],
    ['starting_at=2026-11-01&limit=32', 'limit: must be a whole number from 1 to 31'],
    ['starting_at=2026-11-01&page=page_eA', 'page: must be the next_page'],
    ['starting_at=2026-11-01&page=page_MjAyNi0xMC0wMVQwMDowMDowMC4wMDBa', 'page: must be the next_page'],
    ['starting_at=2026-11-01&group_bye=user', '"group_bye": is no parameter'],
    ['starting_at=2026-11-01&users[]=%00', 'users[]: must not contain a NUL'],
    ['starting_at=2026-11-01&starting_at=2026-11-02', 'starting_at: must be given once'],
    ['starting_at=1970-01-01&bucket_width=1h', 'ending_at: is more than 10000 buckets away'],
  ])('refuses %p', async (query, message) => {
    const response = await fetch(`${url}?${query}`);
    expect(response.status).toBe(400);
    const { error } = (await response.json()) as { error: { type: string; message: string } };
    expect(error.type).toBe('invalid_request_error');
    expect(error.message).toContain(message);
  });
});

describe('GET /v1/organizations/usage as CSV', () => {
  it('is what a spreadsheet reads, and runs nothing', async () => {
    const response = await fetch(`${url}?${NOVEMBER}&group_by[]=user&group_by[]=group&format=csv`);
    expect(response.headers.get('content-type')).toBe('text/csv; charset=utf-8');
    expect(response.headers.get('content-disposition')).toBe('attachment; filename=usage-2026-11-01.csv');
    const name = '"Ada, ""the"" first"';
    expect((await response.text()).split('\n')).toEqual([
      'starting_at,ending_at,user_id,user_email,user_name,user_kind,group,requests,uncached_input_tokens,' +
        'cache_creation_5m_input_tokens,cache_creation_1h_input_tokens,cache_read_input_tokens,output_tokens,' +
        'web_search_requests,cost_usd,cost_nano_usd',
      `2026-11-01T00:00:00Z,2026-11-02T00:00:00Z,ada,ada@example.com,${name},user,eng,2,20,80,100,60,40,2,12.500000008,12500000008`,
      `2026-11-01T00:00:00Z,2026-11-02T00:00:00Z,ada,ada@example.com,${name},user,leads,1,10,40,50,30,20,1,12.500000007,12500000007`,
      `2026-11-02T00:00:00Z,2026-11-03T00:00:00Z,'=cmd(),, =1+1,workload,'@ops,1,10,40,50,30,20,1,0.50,500000000`,
      '2026-11-19T00:00:00Z,2026-11-20T00:00:00Z,bob,,,,,1,10,40,50,30,20,1,0.000000003,3',
      '',
    ]);
  });

  it('follows the Accept header, and says which it follows', async () => {
    const csv = await fetch(`${url}?${NOVEMBER}`, { headers: { accept: 'text/csv' } });
    expect(csv.headers.get('content-type')).toContain('text/csv');
    expect(csv.headers.get('vary')).toContain('Accept');
    expect((await csv.text()).trim().split('\n')).toHaveLength(4);
    const json = await fetch(`${url}?${NOVEMBER}&format=json`, { headers: { accept: 'text/csv' } });
    expect(json.headers.get('content-type')).toContain('application/json');
  });

  it('answers what is wrong with an error, not with a file', async () => {
    const response = await fetch(`${url}?starting_at=2026-11-01&format=csv&page=page_x`);
    expect(response.status).toBe(400);
    expect(await response.text()).toContain('page: does not apply to CSV');
  });

  it('does not gather a whole year of many people, however slowly they read', async () => {
    let rows = 0;
    const row = (bucket: number): UsageReportRow => ({
      bucket,
      user: { sub: `u${rows++}`, email: 'somebody@example.com', name: 'x'.repeat(700), kind: 'user' },
      group: null,
      model: 'm',
      upstream: null,
      requests: 1n,
      inputTokens: 1n,
      outputTokens: 1n,
      cacheReadTokens: 1n,
      cacheWrite5mTokens: 1n,
      cacheWrite1hTokens: 1n,
      webSearches: 1n,
      costNanoUsd: 1n,
    });
    const slow = await serve({
      report: ({ boundaries }) =>
        Promise.resolve(
          boundaries.slice(1).flatMap((_, bucket) => Array.from({ length: 300 }, () => row(bucket))),
        ),
    });
    const year = 'starting_at=2025-11-20&ending_at=2026-11-20&group_by=user,model&format=csv';
    const lines = await new Promise<number>((resolve, reject) => {
      get(`${slow}?${year}`, (response) => {
        let count = 0;
        response.on('data', (chunk: Buffer) => (count += chunk.toString().split('\n').length - 1));
        response.on('end', () => resolve(count)).on('error', reject);
        response.pause();
        setTimeout(() => {
          // What lies in sockets and buffers is a few megabytes at most; the whole year would be 90.
          expect(rows).toBeLessThan(20_000);
          response.resume();
        }, 500);
      }).on('error', reject);
    });
    expect(lines).toBe(365 * 300 + 1);
  });

  it('breaks off so that it shows when the store goes away in the middle', async () => {
    let calls = 0;
    const broken = await serve({
      report: (query) =>
        ++calls > 3 ? Promise.reject(new Error('gone')) : postgres.store.usage.report(query),
    });
    const response = await fetch(`${broken}?${NOVEMBER}&format=csv`);
    await expect(response.text()).rejects.toThrow();
  });
});

describe('what nobody can have meant', () => {
  const RANGE = 'starting_at=2026-11-01&ending_at=2026-11-20';
  const token = (text: string): string => `page_${Buffer.from(text).toString('base64url')}`;

  it.each([
    token('2026-11-02'),
    token('2026-11-02T00:00:00Z'),
    token('Mon, 02 Nov 2026 00:00:00 GMT'),
    token('+275760-09-13T00:00:00.000Z'),
    token('0'),
    `${token('2026-11-02T00:00:00.000Z')}=`,
    'page_',
    '2026-11-02T00:00:00.000Z',
  ])('a forged cursor is refused: %s', async (page) => {
    const response = await fetch(`${url}?${RANGE}&page=${encodeURIComponent(page)}`);
    expect(response.status).toBe(400);
    expect(await response.text()).toContain('page: ');
  });

  it.each(['0000-01-01', '0001-01-01T00:00:00Z', '1969-12-31', '9999-12-31T23:59:59-14:00', '9999-01-01'])(
    'a time that no calendar agrees on is refused: %s',
    async (time) => {
      for (const range of [
        `starting_at=${time}&bucket_width=all`,
        `starting_at=2026-11-01&bucket_width=all&ending_at=${time}`,
      ]) {
        expect([range, (await fetch(`${url}?${range}`)).status]).toEqual([range, 400]);
      }
    },
  );
});
