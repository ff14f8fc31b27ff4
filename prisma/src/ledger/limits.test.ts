import { describe, expect, it } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { versionOf } from './limit-version.ts';
import type { LimitContent, LimitOwner, LimitStore, SpendLimit } from './limit-types.ts';
import { at, NOW, POSTGRES_VERSIONS, usePostgres } from '../testing/postgres.ts';

const CONTENT: LimitContent = {
  scope: { type: 'organization' },
  period: 'monthly',
  unit: 'nano_usd',
  sharing: 'per_member',
  amount: 500_000_000_000n,
  mode: 'strict',
  whenShort: 'refuse',
  failurePolicy: null,
  timeZone: 'UTC',
  warnAtPercent: [75, 95],
  blockedMessage: null,
};
const OWNER: LimitOwner = { kind: 'SpendPolicy', namespace: 'claude', name: 'eng', uid: 'uid-1' };
const CHANGE = { actor: 'admin-key:tf', reason: null, now: NOW };

const group = (name: string): LimitContent => ({ ...CONTENT, scope: { type: 'rbac_group', group: name } });
const user = (name: string): LimitContent => ({ ...CONTENT, scope: { type: 'user', user: name } });

async function put(limits: LimitStore, content: LimitContent): Promise<SpendLimit> {
  const result = await limits.put(content, CHANGE);
  if (result.state !== 'written') throw new Error(result.state);
  return result.limit;
}

describe.each(POSTGRES_VERSIONS)('limits on PostgreSQL %i', (version) => {
  const postgres = usePostgres(version);

  /** A database of its own: revisions are counted. */
  async function open(): Promise<LimitStore> {
    return (await postgres.open({ url: await postgres.server.createDatabase() })).limits;
  }

  it('keeps everything that its maker chose', async () => {
    const limits = await open();
    expect(await limits.readAll()).toEqual({ revision: 0n, limits: [] });
    const content: LimitContent = {
      scope: { type: 'rbac_group', group: ' Ä"\\__proto__ 🦊' },
      period: 'weekly',
      unit: 'tokens_with_cache_reads',
      sharing: 'pooled',
      amount: 2n ** 63n - 1n,
      mode: 'bounded',
      whenShort: 'shrink_output',
      failurePolicy: 'closed',
      timeZone: 'Pacific/Apia',
      warnAtPercent: [5, 50],
      blockedMessage: 'ask "them"',
    };
    const limit = await put(limits, content);
    expect(limit).toEqual({
      ...content,
      id: expect.stringMatching(/^spl_[0-9a-f]{32}$/),
      policyName: null,
      owner: null,
      createdAt: NOW,
      updatedAt: NOW,
    });
    expect(await limits.get(limit.id)).toEqual(limit);
    expect(await limits.readAll()).toEqual({ revision: 1n, limits: [limit] });
    expect(await limits.get('spl_no')).toBeNull();
  });

  it('replaces the limit of the same scope, period, unit and sharing, and keeps its id', async () => {
    const limits = await open();
    const first = await put(limits, CONTENT);
    const others = [
      await put(limits, { ...CONTENT, period: 'daily' }),
      await put(limits, { ...CONTENT, unit: 'tokens' }),
      await put(limits, { ...CONTENT, sharing: 'pooled' }),
      await put(limits, group('')),
    ];
    const again = await limits.put(
      { ...CONTENT, amount: null, timeZone: 'Asia/Tokyo' },
      { ...CHANGE, now: at(5) },
    );
    expect(again).toEqual({
      state: 'written',
      created: false,
      limit: { ...first, amount: null, timeZone: 'Asia/Tokyo', updatedAt: at(5) },
    });
    expect((await limits.readAll()).limits.slice(1)).toEqual(others);
    expect(await limits.revision()).toBe(6n);
  });

  it('knows addresses in any letter case, and takes other names as they are', async () => {
    const limits = await open();
    const limit = await put(limits, user('Ada@X.example'));
    expect(limit.scope).toEqual({ type: 'user', user: 'ada@x.example' });
    expect((await put(limits, user('ADA@x.example'))).id).toBe(limit.id);
    const names = ['sub', 'SUB', ' sub '];
    const ids = await Promise.all(names.map(async (name) => (await put(limits, user(name))).id));
    expect(new Set(ids).size).toBe(3);
  });

  it('writes only what the version demands', async () => {
    const limits = await open();
    const first = await put(limits, CONTENT);
    const version = versionOf(first);
    expect(await limits.put(group('a'), { ...CHANGE, ifMatch: '*' })).toEqual({
      state: 'conflict',
      limit: null,
    });
    expect(await limits.put(CONTENT, { ...CHANGE, ifMatch: 'x' })).toEqual({
      state: 'conflict',
      limit: first,
    });
    expect(await limits.put(CONTENT, { ...CHANGE, ifNoneMatch: true })).toEqual({
      state: 'conflict',
      limit: first,
    });
    expect(await limits.delete(first.id, { ...CHANGE, ifMatch: 'x' })).toEqual({
      state: 'conflict',
      limit: first,
    });
    expect(await limits.revision()).toBe(1n);
    const changed = { ...CONTENT, amount: 1n };
    expect(await limits.put(changed, { ...CHANGE, ifMatch: version })).toMatchObject({ state: 'written' });
    expect(await limits.put(changed, { ...CHANGE, ifMatch: version })).toMatchObject({ state: 'conflict' });
    expect(await limits.put(group('a'), { ...CHANGE, ifNoneMatch: true })).toMatchObject({ created: true });
    const [newest] = (await limits.readAll()).limits;
    const deletion = { ...CHANGE, ifMatch: versionOf(newest as SpendLimit) };
    expect(await limits.delete(first.id, deletion)).toEqual({ state: 'deleted', limit: newest });
    expect(await limits.delete(first.id, deletion)).toEqual({ state: 'missing' });
  });

  it('names every version differently', async () => {
    const limits = await open();
    const limit = await put(limits, CONTENT);
    const variants: SpendLimit[] = [
      limit,
      { ...limit, id: 'spl_x' },
      { ...limit, amount: 1n },
      { ...limit, amount: null },
      { ...limit, mode: 'postpaid' },
      { ...limit, whenShort: 'shrink_output' },
      { ...limit, failurePolicy: 'open' },
      { ...limit, timeZone: 'Asia/Tokyo' },
      { ...limit, warnAtPercent: [75] },
      { ...limit, blockedMessage: '' },
      { ...limit, owner: OWNER },
      { ...limit, updatedAt: at(1) },
    ];
    expect(new Set(variants.map(versionOf)).size).toBe(variants.length);
    expect(versionOf({ ...limit, warnAtPercent: [...limit.warnAtPercent] })).toBe(versionOf(limit));
    expect(versionOf(limit)).toMatch(/^[A-Za-z0-9_-]{22}$/);
  });

  it('lets one of many writers at once win with one version', async () => {
    const limits = await open();
    const ifMatch = versionOf(await put(limits, CONTENT));
    const results = await Promise.all(
      [1n, 2n, 3n, 4n, 5n, 6n, 7n, 8n].map((amount) =>
        limits.put({ ...CONTENT, amount }, { ...CHANGE, ifMatch, now: at(1) }),
      ),
    );
    expect(results.filter(({ state }) => state === 'written')).toHaveLength(1);
    expect(results.filter(({ state }) => state === 'conflict')).toHaveLength(7);
    expect(await limits.revision()).toBe(2n);
  });

  it('counts every one of many changes at once, the first ones too', async () => {
    const limits = await open();
    const made = await Promise.all(Array.from({ length: 12 }, (_, i) => put(limits, group(`g${i % 6}`))));
    expect(new Set(made.map(({ id }) => id)).size).toBe(6);
    expect(await limits.revision()).toBe(12n);
    expect((await limits.changes({ limit: 100 })).changes).toHaveLength(12);
  });

  it('pages in the order of creation, both ways', async () => {
    const limits = await open();
    const ids: string[] = [];
    for (const name of ['c', 'a', 'b', 'e', 'd']) ids.push((await put(limits, group(name))).id);
    await put(limits, group('c'));
    const list = async (page: Parameters<LimitStore['list']>[0]): Promise<[string, boolean]> => {
      const { limits: found, hasMore } = await limits.list(page);
      return [found.map(({ id }) => ids.indexOf(id)).join(''), hasMore];
    };
    expect(await list({ limit: 2 })).toEqual(['01', true]);
    expect(await list({ limit: 2, afterId: ids[1] })).toEqual(['23', true]);
    expect(await list({ limit: 2, afterId: ids[2] })).toEqual(['34', false]);
    expect(await list({ limit: 2, beforeId: ids[4] })).toEqual(['23', true]);
    expect(await list({ limit: 2, beforeId: ids[2] })).toEqual(['01', false]);
    expect(await list({ limit: 9 })).toEqual(['01234', false]);
    expect(await list({ limit: 9, afterId: 'spl_gone' })).toEqual(['', false]);
    expect(await list({ limit: 9, beforeId: 'spl_gone' })).toEqual(['', false]);
  });

  it('keeps a trail of who changed what, and why', async () => {
    const limits = await open();
    const { id } = await put(limits, { ...group('eng'), amount: 12_345_678_900n });
    await limits.put({ ...group('eng'), amount: null }, { actor: 'oidc:ada', reason: 'more', now: at(1) });
    await limits.delete(id, { actor: 'oidc:bob', reason: null, now: at(2) });
    await limits.put({ ...user('u'), unit: 'tokens', amount: 7n }, { ...CHANGE, now: at(3) });
    await limits.replaceOwned(OWNER, 'Engineering', [CONTENT], at(4));
    const { changes, hasMore } = await limits.changes({ limit: 10 });
    expect(hasMore).toBe(false);
    const scope = { type: 'rbac_group', rbac_group_id: 'eng' };
    const common = { id, scope, currency: 'USD', created_at: NOW.toISOString() };
    const first = { ...common, amount: '1234.56789', updated_at: NOW.toISOString() };
    const second = { ...common, amount: null, updated_at: at(1).toISOString() };
    expect(changes).toMatchObject([
      {
        actor: 'resource:SpendPolicy/claude/eng',
        action: 'create',
        after: { policy: 'Engineering', owner: OWNER },
      },
      { action: 'create', after: { scope: { user_id: 'u' }, amount: '7', unit: 'tokens', currency: null } },
      {
        at: at(2),
        actor: 'oidc:bob',
        action: 'delete',
        limitId: id,
        before: second,
        after: null,
        reason: null,
      },
      {
        at: at(1),
        actor: 'oidc:ada',
        action: 'update',
        limitId: id,
        before: first,
        after: second,
        reason: 'more',
      },
      {
        at: NOW,
        actor: 'admin-key:tf',
        action: 'create',
        limitId: id,
        before: null,
        after: first,
        reason: null,
      },
    ]);
    const page = await limits.changes({ limit: 2 });
    expect(page).toEqual({ changes: changes.slice(0, 2), hasMore: true });
    const before = page.changes[1]?.id as string;
    expect(await limits.changes({ limit: 3, before })).toEqual({ changes: changes.slice(2), hasMore: false });
  });

  it('changes nothing when its trail cannot be written', async () => {
    const url = await postgres.server.createDatabase();
    const { limits } = await postgres.open({ url });
    const limit = await put(limits, CONTENT);
    await postgres.sql(
      `alter table claude_gateway.admin_audit add constraint no check (actor <> 'bob')`,
      [],
      url,
    );
    await expect(limits.delete(limit.id, { ...CHANGE, actor: 'bob' })).rejects.toThrow();
    await expect(limits.put(group('a'), { ...CHANGE, actor: 'bob' })).rejects.toThrow();
    expect(await limits.readAll()).toEqual({ revision: 1n, limits: [limit] });
  });

  describe('of a custom resource', () => {
    it('are exactly what it says, and left alone when they are already', async () => {
      const limits = await open();
      const mine = await put(limits, group('mine'));
      expect(await limits.replaceOwned(OWNER, 'eng', [CONTENT, group('a')], at(1))).toBe(2n);
      const before = (await limits.readAll()).limits;
      expect(before).toMatchObject([
        { id: mine.id },
        { owner: OWNER, policyName: 'eng', scope: { type: 'organization' } },
        { owner: OWNER, scope: { group: 'a' } },
      ]);
      const trail = await limits.changes({ limit: 50 });
      expect(await limits.replaceOwned(OWNER, 'eng', [group('a'), CONTENT], at(2))).toBe(2n);
      expect(await limits.readAll()).toEqual({ revision: 2n, limits: before });
      expect(await limits.changes({ limit: 50 })).toEqual(trail);

      expect(
        await limits.replaceOwned(OWNER, 'eng', [{ ...group('a'), amount: 1n }, group('b')], at(3)),
      ).toBe(3n);
      expect((await limits.readAll()).limits).toEqual([
        mine,
        { ...before[2], amount: 1n, updatedAt: at(3) },
        expect.objectContaining({ scope: { type: 'rbac_group', group: 'b' } }),
      ]);
      expect(await limits.replaceOwned({ ...OWNER, uid: 'uid-2' }, 'eng', [group('b')], at(4))).toBe(4n);
      expect(await limits.replaceOwned(OWNER, 'eng', [], at(5))).toBe(5n);
      expect((await limits.readAll()).limits).toHaveLength(2);
      expect(await limits.replaceOwned(OWNER, 'eng', [], at(6))).toBe(5n);
      await expect(limits.replaceOwned(OWNER, 'eng', [CONTENT, CONTENT], at(7))).rejects.toThrow(
        'two limits',
      );
      // A renamed policy is another one for the people who see it.
      expect(await limits.replaceOwned({ ...OWNER, uid: 'uid-2' }, 'platform', [group('b')], at(8))).toBe(6n);
    });

    it('cannot be changed here', async () => {
      const limits = await open();
      const mine = await put(limits, CONTENT);
      await limits.replaceOwned(OWNER, 'eng', [CONTENT], at(1));
      const owned = (await limits.readAll()).limits.find(({ owner }) => owner !== null) as SpendLimit;
      expect(await limits.put(CONTENT, CHANGE)).toEqual({ state: 'owned', limit: owned });
      expect(await limits.delete(owned.id, CHANGE)).toEqual({ state: 'owned', limit: owned });
      expect(await limits.delete(mine.id, CHANGE)).toMatchObject({ state: 'deleted' });
      expect(await limits.put({ ...CONTENT, period: 'daily' }, CHANGE)).toMatchObject({ state: 'written' });
    });
  });

  it('tells other replicas of changes, and only of changes', async () => {
    const url = await postgres.server.createDatabase();
    const [a, b] = await Promise.all([postgres.open({ url }), postgres.open({ url })]);
    let heard = 0;
    const stop = b.limits.onChange(() => heard++);
    await sleep(300);
    const heardAtFirst = heard;
    const { id } = await put(a.limits, CONTENT);
    await a.limits.put(CONTENT, { ...CHANGE, ifNoneMatch: true });
    await a.limits.replaceOwned(OWNER, 'eng', [group('a')], NOW);
    await a.limits.replaceOwned(OWNER, 'eng', [group('a')], NOW);
    await a.limits.delete(id, CHANGE);
    await a.limits.delete(id, CHANGE);
    await sleep(300);
    expect(heard - heardAtFirst).toBe(3);
    stop();
    await put(a.limits, CONTENT);
    await sleep(200);
    expect(heard - heardAtFirst).toBe(3);
  });
});
