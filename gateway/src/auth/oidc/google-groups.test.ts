import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { jwtVerify } from 'jose';
import { createAgent, createFetch } from '../../net/http-client.ts';
import { IdentityProviderUnavailable } from './errors.ts';
import { createGoogleGroups, type GoogleGroups } from './google-groups.ts';
import { createIdpFetch } from './idp-fetch.ts';
import { readFixture, startRecordedIssuer, type RecordedIssuer } from './testing/recorded-issuer.ts';

const DIRECTORY = 'https://admin.googleapis.com/admin/directory/v1/groups';
const TOKEN = 'https://oauth2.googleapis.com/token';
const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
const KEY_FILE = {
  type: 'service_account',
  private_key_id: 'key-1',
  private_key: privateKey.export({ type: 'pkcs8', format: 'pem' }),
  client_email: 'gateway@project.iam.gserviceaccount.com',
  token_uri: TOKEN,
};

const cleanups: (() => unknown)[] = [];
let directory: string;
let path: string;
let google: RecordedIssuer;
let now: Date;
let groups: GoogleGroups;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'google-groups-'));
  path = join(directory, 'account.json');
  writeFileSync(path, JSON.stringify(KEY_FILE));
});
afterAll(() => rmSync(directory, { recursive: true }));

beforeEach(async () => {
  google = await startRecordedIssuer(readFixture('google'));
  google.route(TOKEN, { body: { access_token: 'directory-token', expires_in: 3599, token_type: 'Bearer' } });
  google.route(DIRECTORY, ({ url }) =>
    url.searchParams.get('pageToken') === 'page-2'
      ? { body: { kind: 'admin#directory#groups', groups: [{ email: 'ops@corp.example' }] } }
      : { body: { groups: [{ id: '1', email: 'eng@corp.example', name: 'Eng' }], nextPageToken: 'page-2' } },
  );
  now = new Date();
  const agent = createAgent({ allowLoopback: false, caPem: google.ca, proxy: google.proxy });
  groups = await createGoogleGroups(
    { service_account_json_path: path, admin_email: 'admin@corp.example' },
    { fetch: createIdpFetch('https://admin.googleapis.com', createFetch(agent)), clock: () => now },
  );
});
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
  await google.stop();
});

it('asks as the administrator, page by page', async () => {
  await expect(groups.groupsOf('alice@corp.example')).resolves.toEqual([
    'eng@corp.example',
    'ops@corp.example',
  ]);

  const [tokenRequest, ...pages] = google.requests;
  expect(tokenRequest?.form.get('grant_type')).toBe('urn:ietf:params:oauth:grant-type:jwt-bearer');
  const { payload, protectedHeader } = await jwtVerify(
    tokenRequest?.form.get('assertion') ?? '',
    createPublicKey(privateKey),
    { audience: TOKEN, issuer: KEY_FILE.client_email, subject: 'admin@corp.example' },
  );
  expect(protectedHeader).toEqual({ alg: 'RS256', typ: 'JWT', kid: 'key-1' });
  expect(payload['scope']).toBe('https://www.googleapis.com/auth/admin.directory.group.readonly');
  expect(pages.map(({ url }) => Object.fromEntries(url.searchParams))).toEqual([
    { userKey: 'alice@corp.example', maxResults: '200' },
    { userKey: 'alice@corp.example', maxResults: '200', pageToken: 'page-2' },
  ]);
  expect(pages.every(({ authorization }) => authorization === 'Bearer directory-token')).toBe(true);
});

it('remembers an answer for a minute and a token for its lifetime', async () => {
  const paths = (): string[] => google.requests.splice(0).map(({ url }) => url.pathname);
  await groups.groupsOf('alice@corp.example');
  paths();
  await groups.groupsOf('alice@corp.example');
  expect(paths()).toEqual([]);
  await groups.groupsOf('bob@corp.example');
  expect(paths()).toEqual(['/admin/directory/v1/groups', '/admin/directory/v1/groups']);
  now = new Date(now.getTime() + 61_000);
  await groups.groupsOf('alice@corp.example');
  expect(paths()).toHaveLength(2);
  now = new Date(now.getTime() + 3_600_000);
  await groups.groupsOf('alice@corp.example');
  expect(paths()).toContain('/token');
});

describe('failures', () => {
  it.each([
    [
      TOKEN,
      401,
      { error: 'unauthorized_client', error_description: 'Client is unauthorized to retrieve access tokens' },
    ],
    [TOKEN, 200, { id_token: 'only' }],
    [DIRECTORY, 403, { error: { code: 403, message: 'Not Authorized to access this resource/api' } }],
    [DIRECTORY, 404, { error: { code: 404, message: 'Resource Not Found: userKey' } }],
    [DIRECTORY, 200, 'no json'],
  ])('%s answering %d is a refusal', async (url, status, body) => {
    google.route(url, { status, body });
    await expect(groups.groupsOf('alice@corp.example')).rejects.toMatchObject({
      reason: 'groups_lookup_failed',
      detail: expect.stringContaining('google_groups: https://'),
    });
  });

  it('of Google itself are passing', async () => {
    google.route(DIRECTORY, { status: 503, body: {} });
    await expect(groups.groupsOf('alice@corp.example')).rejects.toBeInstanceOf(IdentityProviderUnavailable);
  });

  it.each([
    ['missing', null],
    ['no JSON', 'secret-text'],
    ['incomplete', '{"client_email":"a@b"}'],
    ['with a broken key', JSON.stringify({ ...KEY_FILE, private_key: 'secret-text' })],
  ])('a key file that is %s stops the start, without quoting it', async (_, content) => {
    const broken = join(directory, 'broken.json');
    rmSync(broken, { force: true });
    if (content !== null) writeFileSync(broken, content);
    const attempt = createGoogleGroups(
      { service_account_json_path: broken, admin_email: 'admin@corp.example' },
      { fetch: createFetch(createAgent({ allowLoopback: false })), clock: () => now },
    );
    await expect(attempt).rejects.toThrow(
      /^oidc\.google_groups\.service_account_json_path: (?!.*secret-text)/,
    );
  });
});

describe('a sign-in with Google', () => {
  /** The Directory API and Google's token endpoint as a plain server, for they are trusted by the system's store. */
  async function startApi(): Promise<{ url: string; answer: { status: number; body: object } }> {
    const api = {
      url: '',
      answer: { status: 200, body: { groups: [{ email: 'eng@corp.example' }] } as object },
    };
    const server = createServer((request, response) => {
      const isToken = request.url === '/token';
      response.writeHead(isToken ? 200 : api.answer.status, { 'content-type': 'application/json' });
      response.end(JSON.stringify(isToken ? { access_token: 't', expires_in: 3600 } : api.answer.body));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    cleanups.push(() => server.close());
    api.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    return api;
  }

  it('has the groups of the directory, whatever the token says', async () => {
    const api = await startApi();
    writeFileSync(path, JSON.stringify({ ...KEY_FILE, token_uri: `${api.url}/token` }));
    const provider = await google.provider(
      {
        google_groups: { service_account_json_path: path, admin_email: 'admin@corp.example' },
        allowed_groups: ['eng@corp.example'],
      },
      { googleDirectoryUrl: api.url, allowLoopback: true, clock: () => now },
    );
    cleanups.push(() => provider.close());
    const claims = { sub: '1', email: 'alice@corp.example', groups: ['forged'] };
    const { identity } = await google.signIn(provider, claims);
    expect(identity.groups).toEqual(['eng@corp.example']);
    await expect(google.signIn(provider, { sub: '1' })).rejects.toMatchObject({ reason: 'email_missing' });

    // A minute later the service account has lost its rights: nobody gets in, and nobody is thrown out.
    now = new Date(now.getTime() + 61_000);
    api.answer = { status: 403, body: { error: { message: 'Not Authorized' } } };
    await expect(google.signIn(provider, claims)).rejects.toMatchObject({ reason: 'groups_lookup_failed' });
    const id_token = await google.idToken({ ...claims, exp: Math.floor(now.getTime() / 1000) + 300 });
    google.route(TOKEN, { body: { access_token: 'a', token_type: 'Bearer', id_token } });
    await expect(provider.refresh('rt', identity)).rejects.toBeInstanceOf(IdentityProviderUnavailable);

    api.answer = { status: 200, body: { groups: [{ email: 'other@corp.example' }] } };
    await expect(provider.refresh('rt', identity)).rejects.toMatchObject({ reason: 'group_not_allowed' });
  });
});
