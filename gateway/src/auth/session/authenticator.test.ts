import { randomBytes, randomUUID } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { beforeEach, describe, expect, it } from '@jest/globals';
import { ApiError } from '../../http/errors.ts';
import type { Principal } from '../../principal.ts';
import { Authenticator, type AuthenticateOptions } from './authenticator.ts';
import { createTokens, type TokenHolder, type Tokens } from './tokens.ts';

const context = { id: 'req_1', clientAddress: '192.0.2.7' };
const start = Date.UTC(2026, 0, 1);

let now = start;
let verifications = 0;
let told = '';
let revoked: Set<string>;
let events: Array<[string, Record<string, unknown>]>;
let tokens: Tokens;
let authenticator: Authenticator;

function person(sub: string): TokenHolder {
  return { sub, email: `${sub}@corp.example`, groups: ['eng'], sid: randomUUID(), kind: 'user' };
}

async function bearer(holder: TokenHolder): Promise<string> {
  return (await tokens.mint(holder)).accessToken;
}

async function outcome(headers: IncomingHttpHeaders, options?: AuthenticateOptions): Promise<string> {
  try {
    return (await authenticator.authenticate(headers, context, options)).sub;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    told = error.message;
    return `${error.status} ${error.type} ${String(error.headers['x-should-retry'])}`;
  }
}

const DENIED = '401 authentication_error false';

beforeEach(() => {
  now = start;
  verifications = 0;
  revoked = new Set();
  events = [];
  const real = createTokens({
    secrets: ['a-secret-of-at-least-thirty-two-bytes!!'],
    ttlSeconds: 3600,
    issuer: 'https://gateway.corp.example',
    clock: () => new Date(now),
  });
  tokens = { ...real, verify: (token) => (verifications++, real.verify(token)) };
  authenticator = new Authenticator({
    tokens,
    revocations: {
      isRevoked: (sid) => revoked.has(sid),
      reasonOf: (sid) => (revoked.has(sid) ? 'admin' : undefined),
    },
    audit: (event, fields) => events.push([event, fields]),
    clock: () => new Date(now),
    cacheSize: 8,
  });
});

describe('Authenticator', () => {
  it('verifies a token once and then answers at once', async () => {
    const authorization = `Bearer ${await bearer(person('alice'))}`;
    const first = authenticator.authenticate({ authorization }, context);
    expect(first).toBeInstanceOf(Promise);
    const principal = await first;
    expect(authenticator.authenticate({ authorization }, context)).toBe(principal);
    expect(verifications).toBe(1);
    expect(principal).toMatchObject({
      sub: 'alice',
      kind: 'user',
      groups: ['eng'],
    } satisfies Partial<Principal>);
  });

  it('takes the scheme in any case', async () => {
    const token = await bearer(person('alice'));
    expect(await outcome({ authorization: `bearer ${token}` })).toBe('alice');
    expect(await outcome({ authorization: `BEARER  ${token}` })).toBe('alice');
    expect(await outcome({ authorization: `Basic ${token}` })).toBe(DENIED);
  });

  it('refuses a remembered token the second it expires', async () => {
    const authorization = `Bearer ${await bearer(person('alice'))}`;
    expect(await outcome({ authorization })).toBe('alice');
    now = start + 3_599_999;
    expect(await outcome({ authorization })).toBe('alice');
    now = start + 3_600_000;
    expect(await outcome({ authorization })).toBe(DENIED);
    expect(events).toEqual([
      ['auth.denied', expect.objectContaining({ reason: 'expired', sub: 'alice', client_ip: '192.0.2.7' })],
    ]);
  });

  it('refuses a revoked session, remembered or not', async () => {
    const alice = person('alice');
    const authorization = `Bearer ${await bearer(alice)}`;
    expect(await outcome({ authorization })).toBe('alice');
    revoked.add(alice.sid);
    expect(await outcome({ authorization })).toBe(DENIED);
    now += 1000;
    expect(await outcome({ authorization: `Bearer ${await bearer(alice)}` })).toBe(DENIED);
    expect(events.map(([, fields]) => fields['reason'])).toEqual(['revoked', 'revoked']);
  });

  it('says why to whoever holds a token of ours, and to nobody else', async () => {
    const [alice, bob] = [person('alice'), person('bob')];
    const authorization = `Bearer ${await bearer(alice)}`;
    revoked.add(alice.sid);
    await outcome({ authorization });
    expect(told).toMatch(/^An administrator ended your session\. Run \/login/);
    const another = `Bearer ${await bearer(bob)}`;
    now = start + 3_600_000;
    await outcome({ authorization: another });
    expect(told).toMatch(/has expired\. Run \/login/);
    for (const forged of [`${authorization.slice(0, -4)}AAAA`, `${another.slice(0, -4)}AAAA`, 'Bearer x']) {
      await outcome({ authorization: forged });
      expect(told).toBe(
        'You are not signed in to the gateway, or your session has ended. Run /login to sign in.',
      );
    }
  });

  it('takes x-api-key only where the caller allows it, and after Authorization', async () => {
    const key = await bearer(person('alice'));
    expect(await outcome({ 'x-api-key': key })).toBe(DENIED);
    expect(await outcome({ 'x-api-key': key }, { allowApiKey: true })).toBe('alice');
    expect(await outcome({ 'x-api-key': key, authorization: 'Bearer x' }, { allowApiKey: true })).toBe(
      DENIED,
    );
  });

  it('remembers a bounded number of tokens and no invalid one', async () => {
    const all: string[] = [];
    for (let index = 0; index < 20; index++) all.push(await bearer(person(`user-${index}`)));
    for (const token of all) await outcome({ authorization: `Bearer ${token}` });
    verifications = 0;
    for (const token of all) await outcome({ authorization: `Bearer ${token}` });
    expect(verifications).toBeGreaterThanOrEqual(12);

    verifications = 0;
    const forged = `${all[0]!.slice(0, -4)}AAAA`;
    for (let index = 0; index < 3; index++)
      expect(await outcome({ authorization: `Bearer ${forged}` })).toBe(DENIED);
    expect(verifications).toBe(3);
  });

  it('answers 401 to whatever the header holds, and never writes it down', async () => {
    const token = await bearer(person('alice'));
    const inputs = [
      '',
      'Bearer',
      'Bearer ',
      'Bearer null',
      'Bearer ..',
      `Bearer ${token} x`,
      `Bearer ${token},`,
      token,
    ];
    for (let index = 0; index < 300; index++) {
      const noise = randomBytes(index).toString(index % 2 === 0 ? 'latin1' : 'base64');
      inputs.push(noise, `Bearer ${noise}`, `Bearer eyJ${noise}.eyJ${noise}.${noise}`);
      const at = index % token.length;
      const altered = String.fromCharCode(token.charCodeAt(at) ^ 1);
      inputs.push(`Bearer ${token.slice(0, at)}${altered}${token.slice(at + 1)}`);
    }
    for (const authorization of inputs) expect(await outcome({ authorization })).toBe(DENIED);
    expect(await outcome({})).toBe(DENIED);
    expect(events).toHaveLength(inputs.length + 1);
    expect(JSON.stringify(events)).not.toContain(token.slice(0, 40));
  });
});
