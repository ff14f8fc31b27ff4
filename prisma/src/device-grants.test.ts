import { describe, expect, it } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { DuplicateCodeError } from './errors.ts';
import { at, hash, newGrant, newIdentity, NOW, POSTGRES_VERSIONS, usePostgres } from './testing/postgres.ts';
import type { DeviceGrantStore, SignInAttempt } from './types.ts';

describe.each(POSTGRES_VERSIONS)('device grants on PostgreSQL %i', (version) => {
  const postgres = usePostgres(version);

  async function pendingGrant(grants: DeviceGrantStore) {
    const grant = newGrant();
    await grants.create(grant);
    const found = await grants.findByUserCode(grant.userCodeHash, NOW);
    return { ...grant, id: found?.id ?? '' };
  }

  it('finds a grant by its user code until it expires', async () => {
    const { deviceGrants } = await postgres.open();
    const grant = newGrant();
    await deviceGrants.create(grant);
    const found = await deviceGrants.findByUserCode(grant.userCodeHash, at(599_999));
    const { surface, clientAddress, createdAt, expiresAt } = grant;
    expect(found).toEqual({
      id: expect.any(String),
      status: 'pending',
      surface,
      clientAddress,
      createdAt,
      expiresAt,
    });
    expect(await deviceGrants.findByUserCode(grant.userCodeHash, grant.expiresAt)).toBeNull();
    expect(await deviceGrants.findByUserCode(hash(), NOW)).toBeNull();
  });

  it('refuses a code that is taken', async () => {
    const { deviceGrants } = await postgres.open();
    const grant = newGrant();
    await deviceGrants.create(grant);
    await expect(deviceGrants.create(newGrant({ userCodeHash: grant.userCodeHash }))).rejects.toThrow(
      DuplicateCodeError,
    );
  });

  it('hands an approved grant to exactly one of fifty polls over two replicas', async () => {
    const [a, b] = await Promise.all([postgres.open(), postgres.open()]);
    const grant = await pendingGrant(a.deviceGrants);
    const identity = newIdentity();
    expect(await a.deviceGrants.approve(grant.id, identity, Buffer.from('sealed'), at(1))).toBe(true);
    const results = await Promise.all(
      Array.from({ length: 50 }, (_, i) => (i % 2 ? a : b).deviceGrants.poll(grant.deviceCodeHash, at(10))),
    );
    const approved = results.filter(({ state }) => state === 'approved');
    expect(approved).toEqual([{ state: 'approved', identity, idpRefreshTokenSealed: Buffer.from('sealed') }]);
    expect(new Set(results.map(({ state }) => state))).toEqual(new Set(['approved', 'expired_token']));
  });

  it('slows down who polls too early, by five seconds each time', async () => {
    const { deviceGrants } = await postgres.open();
    const { deviceCodeHash } = await pendingGrant(deviceGrants);
    const states: string[] = [];
    // Interval 5 s; 10 s after the second; 15 s after the fourth.
    for (const seconds of [0, 2, 12, 20, 30, 35.5, 50.5]) {
      states.push((await deviceGrants.poll(deviceCodeHash, at(seconds * 1000))).state);
    }
    const [pending, slowDown] = ['authorization_pending', 'slow_down'];
    expect(states).toEqual([pending, slowDown, pending, slowDown, slowDown, slowDown, slowDown]);
    expect((await deviceGrants.poll(deviceCodeHash, at(90_000))).state).toBe(pending);
  });

  it('does not mind a poll that is a little early', async () => {
    const { deviceGrants } = await postgres.open();
    const { deviceCodeHash } = await pendingGrant(deviceGrants);
    const states: string[] = [];
    for (const ms of [0, 4_800, 9_500]) states.push((await deviceGrants.poll(deviceCodeHash, at(ms))).state);
    expect(states).toEqual(Array(3).fill('authorization_pending'));
  });

  it('lets one of many early polls through, and slows the rest down', async () => {
    const { deviceGrants } = await postgres.open();
    const { deviceCodeHash } = await pendingGrant(deviceGrants);
    const results = await Promise.all(
      Array.from({ length: 20 }, () => deviceGrants.poll(deviceCodeHash, NOW)),
    );
    expect(results.filter(({ state }) => state === 'authorization_pending')).toHaveLength(1);
    expect(results.filter(({ state }) => state === 'slow_down')).toHaveLength(19);
  });

  it('answers expired_token for unknown and expired codes, approved or not', async () => {
    const { deviceGrants } = await postgres.open();
    expect(await deviceGrants.poll(hash(), NOW)).toEqual({ state: 'expired_token' });
    const { id, deviceCodeHash } = await pendingGrant(deviceGrants);
    await deviceGrants.approve(id, newIdentity(), null, at(1));
    expect(await deviceGrants.poll(deviceCodeHash, at(600_000))).toEqual({ state: 'expired_token' });
  });

  it('tells of a denial as often as it is asked', async () => {
    const { deviceGrants } = await postgres.open();
    const { id, deviceCodeHash } = await pendingGrant(deviceGrants);
    expect(await deviceGrants.deny(id, NOW)).toBe(true);
    expect(await deviceGrants.poll(deviceCodeHash, at(1))).toEqual({ state: 'access_denied' });
    expect(await deviceGrants.poll(deviceCodeHash, at(2))).toEqual({ state: 'access_denied' });
  });

  it('lets one decision stand when many are made at once', async () => {
    const { deviceGrants } = await postgres.open();
    for (let round = 0; round < 5; round++) {
      const { id, deviceCodeHash } = await pendingGrant(deviceGrants);
      const decisions = await Promise.all(
        Array.from({ length: 8 }, (_, i) =>
          i % 2 ? deviceGrants.approve(id, newIdentity(), null, NOW) : deviceGrants.deny(id, NOW),
        ),
      );
      expect(decisions.filter(Boolean)).toHaveLength(1);
      const { state } = await deviceGrants.poll(deviceCodeHash, NOW);
      expect(state).toBe(decisions.indexOf(true) % 2 ? 'approved' : 'access_denied');
    }
  });

  it('decides neither an expired nor an unknown grant', async () => {
    const { deviceGrants } = await postgres.open();
    const { id } = await pendingGrant(deviceGrants);
    expect(await deviceGrants.approve(id, newIdentity(), null, at(600_000))).toBe(false);
    expect(await deviceGrants.deny(randomUUID(), NOW)).toBe(false);
  });

  describe('sign-in attempts', () => {
    const attemptOf = (grantId: string): SignInAttempt => ({
      stateHash: hash(),
      browserHash: hash(),
      grantId,
      provider: 'https://idp.example',
      secretsSealed: Buffer.from([0, 255, 10]),
      expiresAt: at(60_000),
    });

    it('are taken once', async () => {
      const { deviceGrants } = await postgres.open();
      const attempt = attemptOf((await pendingGrant(deviceGrants)).id);
      await deviceGrants.startSignIn(attempt);
      const taken = await Promise.all(
        Array.from({ length: 10 }, () => deviceGrants.takeSignIn(attempt.stateHash, NOW)),
      );
      expect(taken.filter((result) => result !== null)).toEqual([attempt]);
      expect(await deviceGrants.takeSignIn(attempt.stateHash, NOW)).toBeNull();
    });

    it('expire, and go with their grant', async () => {
      const { deviceGrants } = await postgres.open();
      const attempt = attemptOf((await pendingGrant(deviceGrants)).id);
      await deviceGrants.startSignIn(attempt);
      expect(await deviceGrants.takeSignIn(attempt.stateHash, attempt.expiresAt)).toBeNull();
      const orphan = attemptOf(randomUUID());
      await deviceGrants.startSignIn(orphan);
      expect(await deviceGrants.takeSignIn(orphan.stateHash, NOW)).toBeNull();
    });
  });
});
