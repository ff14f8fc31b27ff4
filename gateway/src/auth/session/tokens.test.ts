import { createHmac } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import { decodeJwt, decodeProtectedHeader, SignJWT, type JWTPayload } from 'jose';
import {
  createTokens,
  InvalidToken,
  TOKEN_AUDIENCE,
  TokenTooLarge,
  type TokenHolder,
  type TokenOptions,
} from './tokens.ts';

const secret = 'a-secret-of-at-least-thirty-two-bytes!!';
const other = 'another-secret-of-at-least-32-bytes!!!!';
const issuer = 'https://gateway.corp.example';
const sid = '0192f0d6-6f0a-7c3e-9a53-0d8ab2a3c001';
const start = Date.UTC(2026, 0, 1);
const alice: TokenHolder = {
  sub: 'alice',
  email: 'Alice@corp.example',
  name: 'Alice',
  groups: ['eng', 'ops'],
  sid,
  kind: 'user',
};

function make(options: Partial<TokenOptions> = {}): ReturnType<typeof createTokens> {
  return createTokens({
    secrets: [secret],
    ttlSeconds: 3600,
    issuer,
    clock: () => new Date(start),
    ...options,
  });
}

async function reasonOf(verification: Promise<unknown>): Promise<string> {
  return verification.then(
    () => 'accepted',
    (error: unknown) => {
      if (error instanceof InvalidToken) return error.reason;
      throw error;
    },
  );
}

/** A token with our key id, signed with our secret, whatever it says. */
async function signed(payload: JWTPayload, header: Record<string, string> = {}): Promise<string> {
  const { accessToken } = await make().mint(alice);
  const { kid } = decodeProtectedHeader(accessToken);
  return new SignJWT(payload)
    .setProtectedHeader({ alg: 'HS256', typ: 'JWT', ...(kid === undefined ? {} : { kid }), ...header })
    .sign(new TextEncoder().encode(secret));
}

const good: JWTPayload = {
  iss: issuer,
  aud: TOKEN_AUDIENCE,
  sub: 'alice',
  groups: [],
  sid,
  exp: start / 1000 + 60,
};

const groupsOf = (count: number): string[] =>
  Array.from({ length: count }, (_, i) => `engineering-team-${i}`);

describe('the size of a token', () => {
  it('is never more than a request can carry', async () => {
    await expect(make().mint({ ...alice, groups: groupsOf(5000) })).rejects.toMatchObject({
      name: 'TokenTooLarge',
      message: expect.stringMatching(/5000 groups.*session\.groups: named/),
    });
    const { accessToken } = await make().mint({ ...alice, groups: groupsOf(800) });
    await expect(make().verify(accessToken)).resolves.toMatchObject({ groups: groupsOf(800) });
  });

  it('leaves room in the headers that the listener accepts', async () => {
    const tight = make({ maxHeaderBytes: 16 * 1024 });
    await expect(tight.mint({ ...alice, groups: groupsOf(800) })).rejects.toBeInstanceOf(TokenTooLarge);
    const { accessToken } = await tight.mint({ ...alice, groups: groupsOf(200) });
    expect(accessToken.length).toBeLessThan(10 * 1024);
  });

  it('is that of the groups that something names, from the next token on', async () => {
    const named = new Set(['engineering-team-7']);
    const tokens = make({ isNamedGroup: (group) => named.has(group) });
    const holder = { ...alice, groups: groupsOf(5000) };
    const groups = async (): Promise<readonly string[]> =>
      (await tokens.verify((await tokens.mint(holder)).accessToken)).groups;
    expect(await groups()).toEqual(['engineering-team-7']);
    named.add('engineering-team-4999');
    expect(await groups()).toEqual(['engineering-team-7', 'engineering-team-4999']);
  });
});

describe('createTokens', () => {
  it('mints what clients and the gateway read', async () => {
    const { accessToken, expiresInSeconds } = await make().mint(alice);
    expect(expiresInSeconds).toBe(3600);
    expect(decodeJwt(accessToken)).toEqual({
      iss: issuer,
      aud: 'claude-gateway',
      sub: 'alice',
      email: 'Alice@corp.example',
      name: 'Alice',
      groups: ['eng', 'ops'],
      sid,
      iat: start / 1000,
      exp: start / 1000 + 3600,
    });
    expect(await make().verify(accessToken)).toEqual({
      ...alice,
      email: 'alice@corp.example',
      expiresAt: start / 1000 + 3600,
    });
  });

  it('keeps what kind of principal it is, and leaves out what is not known', async () => {
    const holder: TokenHolder = { sub: 'workload:ci:x', groups: [], sid, kind: 'workload' };
    const { accessToken } = await make().mint(holder);
    expect(await make().verify(accessToken)).toEqual({ ...holder, expiresAt: start / 1000 + 3600 });
  });

  it('lets a lifetime be shorter, never longer', async () => {
    expect((await make().mint(alice, 60)).expiresInSeconds).toBe(60);
    expect((await make().mint(alice, 86_400)).expiresInSeconds).toBe(3600);
  });

  it('signs with the first secret and verifies with all', async () => {
    const before = await make().mint(alice);
    const rotated = make({ secrets: [other, secret] });
    expect(await reasonOf(rotated.verify(before.accessToken))).toBe('accepted');
    const after = await rotated.mint(alice);
    expect(await reasonOf(make({ secrets: [other] }).verify(after.accessToken))).toBe('accepted');
    expect(await reasonOf(make().verify(after.accessToken))).toBe('unknown_key');
    expect(await reasonOf(make({ secrets: [other] }).verify(before.accessToken))).toBe('unknown_key');
  });

  it('expires to the second', async () => {
    const { accessToken } = await make().mint(alice);
    const at = (ms: number): Promise<string> =>
      reasonOf(make({ clock: () => new Date(start + ms) }).verify(accessToken));
    expect(await at(3_599_999)).toBe('accepted');
    expect(await at(3_600_000)).toBe('expired');
  });

  it('names the holder of an authentic token that it refuses, and of no other', async () => {
    const { accessToken } = await make().mint(alice);
    const late = make({ clock: () => new Date(start + 4_000_000) });
    await expect(late.verify(accessToken)).rejects.toMatchObject({
      holder: { sub: 'alice', email: 'Alice@corp.example' },
    });
    await expect(make().verify(`${accessToken.slice(0, -4)}AAAA`)).rejects.toMatchObject({ holder: {} });
  });

  it.each<[string, JWTPayload, string]>([
    ['another issuer', { ...good, iss: 'https://elsewhere.example' }, 'wrong_issuer'],
    ['no issuer', { ...good, iss: undefined }, 'wrong_issuer'],
    ['another audience', { ...good, aud: 'something-else' }, 'wrong_audience'],
    ['no expiry', { ...good, exp: undefined }, 'bad_claims'],
    ['a start in the future', { ...good, nbf: start / 1000 + 600 }, 'bad_claims'],
    ['no subject', { ...good, sub: undefined }, 'bad_claims'],
    ['an empty subject', { ...good, sub: '' }, 'bad_claims'],
    ['no session, as the reference gateway mints them', { ...good, sid: undefined }, 'bad_claims'],
    ['a session id of another form', { ...good, sid: "x' or 1=1" }, 'bad_claims'],
    ['groups that are no list', { ...good, groups: 'eng' }, 'bad_claims'],
    ['a group that is no text', { ...good, groups: ['eng', 7] }, 'bad_claims'],
    ['an unknown kind', { ...good, kind: 'admin' }, 'bad_claims'],
  ])('refuses a token with %s', async (_what, payload, reason) => {
    expect(await reasonOf(make().verify(await signed(good)))).toBe('accepted');
    expect(await reasonOf(make().verify(await signed(payload)))).toBe(reason);
  });

  it('refuses every algorithm but its own', async () => {
    const [, payload = ''] = (await signed(good)).split('.');
    const { kid } = decodeProtectedHeader(await signed(good));
    const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
    const forge = (alg: string, digest: string, length = 43): string => {
      const input = `${encode({ alg, typ: 'JWT', kid })}.${payload}`;
      return `${input}.${createHmac(digest, secret).update(input).digest('base64url').slice(0, length)}`;
    };
    expect(await reasonOf(make().verify(forge('HS256', 'sha256')))).toBe('accepted');
    for (const alg of ['none', 'None', 'HS384', 'HS512', 'RS256', '']) {
      expect(await reasonOf(make().verify(forge(alg, 'sha256')))).toBe('malformed');
    }
    expect(await reasonOf(make().verify(forge('HS512', 'sha512', 86)))).toBe('malformed');
    expect(await reasonOf(make().verify(`${encode({ alg: 'none', kid })}.${payload}.`))).toBe('malformed');
  });

  it('refuses a token signed with another secret under our key id', async () => {
    const { kid = '' } = decodeProtectedHeader(await signed(good));
    const forged = await new SignJWT(good)
      .setProtectedHeader({ alg: 'HS256', kid })
      .sign(new TextEncoder().encode(other));
    expect(await reasonOf(make().verify(forged))).toBe('bad_signature');
  });

  it('refuses anything else that people put in a header', async () => {
    const token = await signed(good);
    const [header = '', payload = '', signature = ''] = token.split('.');
    const inputs = [
      '',
      '.',
      '..',
      'a.b.c',
      'null',
      `${token}.`,
      ` ${token}`,
      `${header}.${payload}`,
      token.slice(1),
    ];
    inputs.push(
      `${header}..${signature}`,
      `${header}.${payload}.${signature.slice(1)}`,
      `eyJ.eyJ.${signature}`,
    );
    inputs.push(`${Buffer.from('{"alg').toString('base64url')}.${payload}.${signature}`, `${token}\u0000`);
    inputs.push(`${header}.${'eyJ'.repeat(20_000)}.${signature}`);
    for (const input of inputs) expect(await reasonOf(make().verify(input))).toBe('malformed');
  });

  it('needs a secret', () => {
    expect(() => make({ secrets: [] })).toThrow('session.jwt_secret');
  });
});
