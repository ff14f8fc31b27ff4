import { describe, expect, it } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { at, hash, newIdentity, NOW, POSTGRES_VERSIONS, usePostgres } from './testing/postgres.ts';
import type { Identity, SessionStore } from './types.ts';

const GRACE_MS = 10_000;
const LEASE_MS = 5_000;
const LAPTOP = { network: '192.0.2.7', program: 'claude-code' };
const THIEF = { network: '203.0.113.9', program: 'curl' };
const claimAt = (ms: number) => ({ now: at(ms), graceMs: GRACE_MS, leaseMs: LEASE_MS });

describe.each(POSTGRES_VERSIONS)('sessions on PostgreSQL %i', (version) => {
  const postgres = usePostgres(version);

  async function signedIn(sessions: SessionStore, identity: Identity = newIdentity()) {
    const [id, token] = [randomUUID(), hash()];
    const idpRefreshTokenSealed = Buffer.from('sealed 1');
    await sessions.create({ id, identity, refreshTokenHash: token, idpRefreshTokenSealed, now: NOW });
    const rotation = (used: Buffer, next: Buffer, ms: number, who = identity) => ({
      usedTokenHash: used,
      newTokenHash: next,
      identity: who,
      idpRefreshTokenSealed: Buffer.from('sealed 2'),
      now: at(ms),
    });
    return { id, token, identity, rotation };
  }

  it('claims the newest token, and rotates it with what the identity provider said', async () => {
    const { sessions } = await postgres.open();
    const { id, token, identity, rotation } = await signedIn(sessions);
    const claim = await sessions.claimRefresh(token, claimAt(1));
    const session = {
      id,
      identity,
      createdAt: NOW,
      refreshedAt: NOW,
      idpRefreshTokenSealed: Buffer.from('sealed 1'),
      revokedAt: null,
    };
    expect(claim).toEqual({ state: 'claimed', session });
    const [next, promoted] = [hash(), { ...identity, name: null, groups: [] }];
    expect(await sessions.rotate(id, rotation(token, next, 2, promoted))).toBe(true);
    expect(await sessions.claimRefresh(next, claimAt(3))).toEqual({
      state: 'claimed',
      session: {
        ...session,
        identity: promoted,
        refreshedAt: at(2),
        idpRefreshTokenSealed: Buffer.from('sealed 2'),
      },
    });
  });

  it('knows no strangers', async () => {
    const { sessions } = await postgres.open();
    expect(await sessions.claimRefresh(hash(), claimAt(0))).toEqual({ state: 'unknown' });
    await sessions.create({
      id: randomUUID(),
      identity: newIdentity({ email: null }),
      refreshTokenHash: null,
      idpRefreshTokenSealed: null,
      now: NOW,
    });
    expect(await sessions.claimRefresh(hash(), claimAt(0))).toEqual({ state: 'unknown' });
  });

  it('gives the claim to one of twenty callers over two replicas', async () => {
    const [a, b] = await Promise.all([postgres.open(), postgres.open()]);
    const { token } = await signedIn(a.sessions);
    const claims = await Promise.all(
      Array.from({ length: 20 }, (_, i) => (i % 2 ? a : b).sessions.claimRefresh(token, claimAt(1))),
    );
    expect(claims.filter(({ state }) => state === 'claimed')).toHaveLength(1);
    expect(claims.filter(({ state }) => state === 'busy')).toHaveLength(19);
  });

  it('frees a claim when it is given back, and when its holder died', async () => {
    const { sessions } = await postgres.open();
    const { id, token } = await signedIn(sessions);
    expect((await sessions.claimRefresh(token, claimAt(0))).state).toBe('claimed');
    await sessions.releaseRefresh(id);
    expect((await sessions.claimRefresh(token, claimAt(1))).state).toBe('claimed');
    expect((await sessions.claimRefresh(token, claimAt(LEASE_MS))).state).toBe('busy');
    expect((await sessions.claimRefresh(token, claimAt(LEASE_MS + 1))).state).toBe('claimed');
  });

  it('points the loser of two refreshes at once to the winner, within the grace period', async () => {
    const { sessions, revocations } = await postgres.open();
    const { id, token, rotation } = await signedIn(sessions);
    const next = hash();
    await sessions.claimRefresh(token, claimAt(0));
    expect((await sessions.claimRefresh(token, claimAt(1))).state).toBe('busy');
    await sessions.rotate(id, rotation(token, next, 2));
    const late = await sessions.claimRefresh(token, claimAt(2 + GRACE_MS));
    expect(late).toMatchObject({
      state: 'superseded',
      currentTokenHash: next,
      session: { id, revokedAt: null },
    });
    expect(revocations.isRevoked(id)).toBe(false);
    expect((await sessions.claimRefresh(next, claimAt(3))).state).toBe('claimed');
  });

  it('calls a token stale that was replaced before the grace period, and ends nothing', async () => {
    const { sessions, revocations } = await postgres.open();
    const { id, token, rotation } = await signedIn(sessions);
    const next = hash();
    await sessions.rotate(id, { ...rotation(token, next, 0), by: LAPTOP });
    for (const by of [LAPTOP, { ...LAPTOP, network: '198.51.100.7' }, { ...LAPTOP, program: 'desktop' }]) {
      const claim = await sessions.claimRefresh(token, { ...claimAt(GRACE_MS + 1), by });
      expect(claim).toMatchObject({ state: 'stale', session: { id, revokedAt: null } });
    }
    expect(revocations.isRevoked(id)).toBe(false);
    expect((await sessions.claimRefresh(next, claimAt(GRACE_MS + 2))).state).toBe('claimed');
  });

  it.each([
    ['within the grace period', 1],
    ['after it', GRACE_MS + 1],
  ])('revokes the session whose old token another program brings from elsewhere, %s', async (_when, ms) => {
    const { sessions, revocations } = await postgres.open();
    const { id, token, rotation } = await signedIn(sessions);
    const next = hash();
    await sessions.rotate(id, { ...rotation(token, next, 0), by: LAPTOP });
    const claims = Array.from({ length: 5 }, () =>
      sessions.claimRefresh(token, { ...claimAt(ms), by: THIEF }),
    );
    for (const claim of await Promise.all(claims)) {
      expect(claim).toMatchObject({ session: { id, revokedAt: at(ms) } });
      expect(['reused', 'revoked']).toContain(claim.state);
    }
    expect([revocations.isRevoked(id), revocations.reasonOf(id)]).toEqual([true, 'refresh_token_reused']);
    expect((await sessions.claimRefresh(next, claimAt(ms + 1))).state).toBe('revoked');
    expect((await sessions.claimRefresh(token, claimAt(ms + 1))).state).toBe('revoked');
    expect(await sessions.rotate(id, rotation(next, hash(), ms + 2))).toBe(false);
    expect(
      await postgres.sql('select revoke_reason from claude_gateway.sessions where id = $1', [id]),
    ).toEqual([['refresh_token_reused']]);
  });

  it('revokes when the owner comes back with what somebody elsewhere has used, although not as the last one', async () => {
    const { sessions } = await postgres.open();
    const { id, token, rotation } = await signedIn(sessions);
    const [second, third] = [hash(), hash()];
    await sessions.rotate(id, { ...rotation(token, second, 0), by: THIEF });
    await sessions.rotate(id, { ...rotation(second, third, 1), by: LAPTOP });
    expect((await sessions.claimRefresh(token, { ...claimAt(2), by: LAPTOP })).state).toBe('reused');
  });

  it('rotates each token once, and may be told so twice', async () => {
    const { sessions } = await postgres.open();
    const { id, token, rotation } = await signedIn(sessions);
    const successors = Array.from({ length: 10 }, () => hash());
    const done = await Promise.all(successors.map((next) => sessions.rotate(id, rotation(token, next, 1))));
    expect(done.filter(Boolean)).toHaveLength(1);
    const winner = successors[done.indexOf(true)] ?? hash();
    expect(await sessions.rotate(id, rotation(token, winner, 2))).toBe(true);
    expect(await sessions.rotate(id, rotation(hash(), hash(), 2))).toBe(false);
    expect(await sessions.list({ sub: '', limit: 1 })).toEqual([]);
    const [row] = await postgres.sql(
      'select count(*)::int, min(refreshed_at) from claude_gateway.sessions s join claude_gateway.replaced_refresh_tokens t on t.session_id = s.id where s.id = $1',
      [id],
    );
    expect(row).toEqual([1, at(1)]);
  });

  it('answers both of two callers that repeat the same rotation at once', async () => {
    const { sessions } = await postgres.open();
    const { id, token, rotation } = await signedIn(sessions);
    const same = rotation(token, hash(), 1);
    expect(await Promise.all(Array.from({ length: 8 }, () => sessions.rotate(id, same)))).toEqual(
      Array(8).fill(true),
    );
  });

  it('revokes once, forgets the identity provider’s token, and ends the refreshing', async () => {
    const { sessions, revocations } = await postgres.open();
    const { id, token, rotation } = await signedIn(sessions);
    await sessions.claimRefresh(token, claimAt(0));
    const answers = await Promise.all(Array.from({ length: 5 }, () => sessions.revoke(id, 'admin', at(1))));
    expect(answers.filter(Boolean)).toHaveLength(1);
    expect(revocations.isRevoked(id)).toBe(true);
    expect(await sessions.rotate(id, rotation(token, hash(), 2))).toBe(false);
    const claim = await sessions.claimRefresh(token, claimAt(3));
    expect(claim).toMatchObject({
      state: 'revoked',
      session: { revokedAt: at(1), idpRefreshTokenSealed: null },
    });
  });

  it('remembers a revoked session that it never saw', async () => {
    const [a, b] = await Promise.all([postgres.open(), postgres.open()]);
    const id = randomUUID();
    expect(await a.sessions.revoke(id, 'workload', at(0))).toBe(false);
    expect(a.revocations.isRevoked(id)).toBe(true);
    await expectSoon(() => b.revocations.isRevoked(id));
    expect(b.revocations.reasonOf(id)).toBe('workload');
  });

  it('revokes by any refresh token that the session has or had', async () => {
    const { sessions, revocations } = await postgres.open();
    const first = await signedIn(sessions);
    expect(await sessions.revokeByRefreshToken(first.token, 'sign_out', at(1))).toBe(first.id);
    const second = await signedIn(sessions);
    await sessions.rotate(second.id, second.rotation(second.token, hash(), 1));
    expect(await sessions.revokeByRefreshToken(second.token, 'sign_out', at(1e6))).toBe(second.id);
    expect([first.id, second.id].map((id) => revocations.isRevoked(id))).toEqual([true, true]);
    expect(await sessions.revokeByRefreshToken(second.token, 'sign_out', at(1e6))).toBe(second.id);
    expect(await sessions.revokeByRefreshToken(hash(), 'sign_out', NOW)).toBeNull();
  });

  it('revokes and lists everything of a person, whatever the case of the address', async () => {
    const { sessions, revocations } = await postgres.open();
    const identity = newIdentity();
    const mine = await Promise.all([signedIn(sessions, identity), signedIn(sessions, identity)]);
    const other = await signedIn(sessions);
    const ids = mine.map(({ id }) => id).sort();
    const email = identity.email?.toUpperCase() ?? '';
    expect((await sessions.list({ email, limit: 10 })).map(({ id }) => id).sort()).toEqual(ids);
    expect(await sessions.list({ sub: identity.sub, limit: 1 })).toHaveLength(1);
    expect((await sessions.revokeByUser({ email }, 'admin', at(1))).sort()).toEqual(ids);
    expect(await sessions.revokeByUser({ sub: identity.sub }, 'admin', at(2))).toEqual([]);
    expect(ids.every((id) => revocations.isRevoked(id))).toBe(true);
    expect(revocations.isRevoked(other.id)).toBe(false);
    expect(await sessions.revokeByUser({ sub: other.identity.sub }, 'admin', at(2))).toEqual([other.id]);
    const [listed] = await sessions.list({ sub: other.identity.sub, limit: 5 });
    expect(listed).toEqual({
      id: other.id,
      identity: other.identity,
      createdAt: NOW,
      refreshedAt: NOW,
      revokedAt: at(2),
      idpRefreshTokenSealed: null,
    });
  });
});

async function expectSoon(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 100 && !condition(); i++) await new Promise((wake) => setTimeout(wake, 10));
  expect(condition()).toBe(true);
}
