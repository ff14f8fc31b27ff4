import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Writable } from 'node:stream';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { createApp } from '../http/app.ts';
import { setContext } from '../http/context.ts';
import { unauthenticated } from '../http/errors.ts';
import { createAudit } from '../observe/audit.ts';
import { createLog } from '../observe/log.ts';
import { compilePolicy } from './policy.ts';
import { createPolicyRouter } from './router.ts';
import type { PolicyOrigin } from './source.ts';
import { fixture, load, person } from './testing/fixtures.ts';

const { settingsHeaders } = fixture<{ settingsHeaders: Record<string, Record<string, string>> }>(
  'policies.json',
);

const policy = compilePolicy(
  load({
    managed: {
      policies: [
        { match: { groups: ['eng'] }, cli: { model: 'opus', availableModels: ['opus'] } },
        { match: { groups: ['empty'] }, cli: {}, desktop: {} },
        {
          match: { groups: ['resource'] },
          cli: { model: 'opus' },
          desktop: {},
          origin: { label: 'ManagedSettings claude/base', ownerUid: 'u1', documentHash: 'h1' },
        },
      ],
    },
  }),
  { publicUrl: 'http://gateway.example' },
);
const CHECKSUM = 'sha256:168751d87a8505df8bba064e4d1d8a3701f40f126a062285ed1a09d2d3c6080d';

let server: Server;
let origin: string;
const audited: Record<string, unknown>[] = [];
const fetched: { sub: string; origins: readonly PolicyOrigin[] }[] = [];

beforeAll(async () => {
  const sink = new Writable({
    write(chunk: Buffer, _encoding, done) {
      audited.push(JSON.parse(chunk.toString()) as Record<string, unknown>);
      done();
    },
  });
  const log = createLog('silent', new Writable({ write: (_chunk, _encoding, done) => done() }));
  // A bearer names the caller's only group, so that every test says who asks.
  const authenticate = (
    headers: { authorization?: string; 'x-api-key'?: string | string[] },
    _context: unknown,
    { allowApiKey }: { allowApiKey: boolean },
  ) => {
    const key = allowApiKey ? headers['x-api-key'] : undefined;
    const group = headers.authorization?.replace('Bearer ', '') ?? key;
    if (typeof group !== 'string') throw unauthenticated();
    return person([group]);
  };
  const app = createApp([
    createPolicyRouter({
      policy,
      authenticate,
      audit: createAudit(sink),
      isSpendAdmin: () => false,
      onSettingsFetched: ({ sub }, origins) => void fetched.push({ sub, origins }),
    }),
  ]);
  server = createServer((request, response) => {
    setContext(request, { id: 'req_1', clientAddress: '127.0.0.1', log, startedAt: 0 });
    app(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

afterAll(() => void server.close());
beforeEach(() => {
  audited.splice(0);
  fetched.splice(0);
});

const ask = (path: string, group: string, headers: Record<string, string> = {}, method = 'GET') =>
  fetch(`${origin}${path}`, { method, headers: { authorization: `Bearer ${group}`, ...headers } });

describe('GET /managed/settings', () => {
  it('sends settings, checksum and entity tag', async () => {
    const response = await ask('/managed/settings', 'eng');
    expect(response.status).toBe(200);
    expect(await response.json()).toEqual({
      uuid: CHECKSUM,
      checksum: CHECKSUM,
      settings: { model: 'opus', availableModels: ['opus'] },
    });
    expect(response.headers.get('etag')).toBe(`"${CHECKSUM}"`);
    expect(response.headers.get('content-type')).toMatch(/^application\/json/);
    expect(response.headers.get('x-cc-gateway-version')).toBe(
      settingsHeaders['200']?.['x-cc-gateway-version'],
    );
    expect(response.headers.get('vary')).toMatch(/user-agent/i);
    expect(audited).toEqual([
      expect.objectContaining({
        evt: 'managed.serve',
        request_id: 'req_1',
        sub: 'polly',
        email: 'polly@corp.example',
        policy_index: 0,
        checksum: CHECKSUM,
      }),
    ]);
  });

  it.each([`"${CHECKSUM}"`, `W/"${CHECKSUM}"`, `"other", "${CHECKSUM}"`, `"other",W/"${CHECKSUM}" `])(
    'answers 304 to If-None-Match: %s',
    async (tag) => {
      const response = await ask('/managed/settings', 'eng', { 'if-none-match': tag });
      expect(response.status).toBe(304);
      expect(await response.text()).toBe('');
      expect(response.headers.get('etag')).toBe(`"${CHECKSUM}"`);
      // With no-store as well, Claude Desktop would refuse to start the session.
      expect(response.headers.get('x-cc-gateway-version')).not.toBeNull();
      expect(response.headers.get('cache-control')).not.toContain('no-store');
      expect(audited).toEqual([]);
    },
  );

  it.each(['*', '"*"', CHECKSUM, '"other"', ''])('answers 200 to If-None-Match: %j', async (tag) => {
    expect((await ask('/managed/settings', 'eng', { 'if-none-match': tag })).status).toBe(200);
  });

  it('notes who got what of which resource, with 200, 304 and 404', async () => {
    const first = await ask('/managed/settings', 'resource');
    expect(first.status).toBe(200);
    const again = { 'if-none-match': first.headers.get('etag') ?? '' };
    expect((await ask('/managed/settings', 'resource', again)).status).toBe(304);
    await ask('/managed/settings', 'eng');
    await ask('/managed/settings', 'nobody');
    await ask('/managed/settings', 'resource', {
      'user-agent': 'claude-cli/2.1.330 (external, claude-desktop)',
    });
    await ask('/user/bootstrap', 'resource');
    const origins = [{ label: 'ManagedSettings claude/base', ownerUid: 'u1', documentHash: 'h1' }];
    expect(fetched).toEqual([
      { sub: 'polly', origins },
      { sub: 'polly', origins },
      { sub: 'polly', origins: [] },
      { sub: 'polly', origins: [] },
    ]);
    const named = { policies: ['ManagedSettings claude/base'] };
    expect(audited.filter(({ evt }) => evt === 'managed.serve')).toEqual([
      expect.objectContaining(named),
      expect.not.objectContaining({ policies: expect.anything() }),
    ]);
    expect(audited).toContainEqual(expect.objectContaining({ evt: 'desktop_bootstrap.serve', ...named }));
  });

  it('tells an empty policy from no policy', async () => {
    const empty = await ask('/managed/settings', 'empty');
    expect(empty.status).toBe(200);
    expect(await empty.json()).toMatchObject({ settings: {} });
    const none = await ask('/managed/settings', 'nobody', { 'if-none-match': '*' });
    expect(none.status).toBe(404);
    expect(await none.json()).toMatchObject({ type: 'error', error: { type: 'not_found_error' } });
    for (const [name, value] of Object.entries(settingsHeaders['404'] ?? {})) {
      if (name !== 'content-type') expect(none.headers.get(name)?.toLowerCase()).toBe(value.toLowerCase());
    }
  });

  it.each([
    ['claude-cli/2.1.330 (external, cli)', 200],
    ['Claude/1.2.3 Electron/33', 200],
    ['claude-cli/2.1.330 (external, claude-desktop)', 404],
    ['claude-cli/2.1.330 (external, claude-desktop-3p)', 404],
    ['claude-cli/2.1.330 (external, local-agent)', 404],
    ['claude-code/2.1.330 (claude-desktop)', 404],
    [`claude-cli (${'('.repeat(5000)}`, 200],
  ])('answers a session of %.60s with %d', async (userAgent, status) => {
    const response = await ask('/managed/settings', 'eng', { 'user-agent': userAgent });
    expect(response.status).toBe(status);
    if (status === 404) expect(response.headers.get('cache-control')).toBe('no-store');
  });

  it('takes no API key', async () => {
    const response = await fetch(`${origin}/managed/settings`, { headers: { 'x-api-key': 'eng' } });
    expect(response.status).toBe(401);
    expect(response.headers.get('x-should-retry')).toBe('false');
  });
});

describe('GET /v1/models', () => {
  it("lists the caller's models, also to a bearer in x-api-key", async () => {
    const response = await fetch(`${origin}/v1/models?limit=1000`, { headers: { 'x-api-key': 'eng' } });
    expect(response.status).toBe(200);
    const list = (await response.json()) as { data: { id: string }[]; has_more: boolean };
    expect(list.data).toHaveLength(6);
    expect(list.data.every(({ id }) => id.includes('opus'))).toBe(true);
    expect(list.has_more).toBe(false);
  });

  it('pages forwards and backwards over the whole list', async () => {
    const all = (await (await ask('/v1/models', 'empty')).json()) as { data: { id: string }[] };
    const ids = all.data.map(({ id }) => id);
    const walk = async (parameter: string, cursor: 'first_id' | 'last_id') => {
      const pages: string[][] = [];
      let query = '?limit=4';
      for (;;) {
        const page = (await (await ask(`/v1/models${query}`, 'empty')).json()) as {
          data: { id: string }[];
          has_more: boolean;
          first_id: string;
          last_id: string;
        };
        pages.push(page.data.map(({ id }) => id));
        if (!page.has_more) return pages;
        query = `?limit=4&${parameter}=${encodeURIComponent(page[cursor])}`;
      }
    };
    expect((await walk('after_id', 'last_id')).flat()).toEqual(ids);
    const last = ids.at(-1) ?? '';
    const first = (await (await ask(`/v1/models?limit=4&before_id=${last}`, 'empty')).json()) as {
      data: { id: string }[];
      has_more: boolean;
    };
    expect(first.data.map(({ id }) => id)).toEqual(ids.slice(-5, -1));
    expect(first.has_more).toBe(true);
  });

  it.each(['limit=0', 'limit=1001', 'limit=abc', 'limit=', 'limit=1&limit=2', 'after_id=nope', 'before_id='])(
    'refuses ?%s',
    async (query) => {
      const response = await ask(`/v1/models?${query}`, 'eng');
      expect(response.status).toBe(400);
      expect(await response.json()).toMatchObject({ error: { type: 'invalid_request_error' } });
    },
  );

  it('shows one model by any of its names, if the caller may use it', async () => {
    const response = await ask('/v1/models/us.anthropic.claude-opus-4-8', 'eng');
    expect(await response.json()).toEqual({
      type: 'model',
      id: 'claude-opus-4-8',
      display_name: 'Claude Opus 4.8',
      max_input_tokens: 1_000_000,
    });
    expect((await ask('/v1/models/claude-haiku-4-5', 'eng')).status).toBe(404);
    expect((await ask('/v1/models/claude-unknown-9', 'eng')).status).toBe(404);
    expect((await ask('/v1/models/%E0%A4%A', 'eng')).status).toBe(400);
  });
});

describe('GET /user/bootstrap', () => {
  it('serves whom the policy opts in, and audits', async () => {
    const response = await ask('/user/bootstrap', 'empty');
    expect(response.status).toBe(200);
    expect(response.headers.get('cache-control')).toBe('no-store');
    expect(response.headers.get('x-gateway-spend-admin')).toBe('false');
    expect(await response.json()).toMatchObject({ inferenceGatewayBaseUrl: 'http://gateway.example' });
    expect(audited).toEqual([expect.objectContaining({ evt: 'desktop_bootstrap.serve', policy_index: 1 })]);
  });

  it('refuses everybody else', async () => {
    const response = await ask('/user/bootstrap', 'eng');
    expect(response.status).toBe(404);
    expect(await response.json()).toMatchObject({ error: { type: 'not_found_error' } });
    expect(audited).toEqual([
      expect.objectContaining({ evt: 'desktop_bootstrap.denied', reason: 'not_opted_in', sub: 'polly' }),
    ]);
  });
});

describe('methods', () => {
  it.each(['/v1/models', '/v1/models/claude-opus-4-8', '/managed/settings'])(
    'HEAD %s has no body',
    async (path) => {
      const [head, get] = [await ask(path, 'eng', {}, 'HEAD'), await ask(path, 'eng')];
      expect(head.status).toBe(200);
      expect(await head.text()).toBe('');
      expect(head.headers.get('content-length')).toBe(get.headers.get('content-length'));
    },
  );

  it.each(['/v1/models', '/managed/settings', '/user/bootstrap'])(
    'anything else on %s is 405',
    async (path) => {
      for (const method of ['POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS']) {
        const response = await ask(path, 'eng', {}, method);
        expect(response.status).toBe(405);
        expect(response.headers.get('allow')).toBe('GET, HEAD');
      }
    },
  );

  it.each(['/v1/models/', '/managed/settings/', '/Managed/Settings', '/managed'])(
    '%s is not there',
    async (path) => {
      expect((await ask(path, 'eng')).status).toBe(404);
    },
  );
});
