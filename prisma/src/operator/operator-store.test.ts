import { describe, expect, it } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import type { SettingsFetch } from '../managed/types.ts';
import { newOwner, newPolicy } from '../testing/owned-rows.ts';
import { at, hash, newIdentity, NOW, POSTGRES_VERSIONS, usePostgres } from '../testing/postgres.ts';
import type { Store } from '../types.ts';

const HOUR_MS = 3_600_000;

describe.each(POSTGRES_VERSIONS)('what the operator sees on PostgreSQL %i', (version) => {
  const postgres = usePostgres(version);

  async function open(): Promise<{ store: Store; url: string }> {
    const url = await postgres.server.createDatabase();
    return { store: await postgres.open({ url }), url };
  }

  describe('of replicas', () => {
    it('is who lives, what they run and what they enforce', async () => {
      const { store } = await open();
      const [a, b, gone] = [randomUUID(), randomUUID(), randomUUID()];
      const beat = { policyRevision: 3n, ttlMs: 60_000, inFlight: [] };
      await store.ledger.heartbeat({ ...beat, replicaId: a, name: 'pod-a', version: '1.2.3' });
      await store.ledger.heartbeat({ ...beat, replicaId: b, name: 'pod-b', policyRevision: 2n });
      await store.ledger.heartbeat({ ...beat, replicaId: gone, name: 'pod-c', ttlMs: -1 });
      const seenAt = expect.any(Date);
      const silentMs = expect.any(Number);
      expect(await store.policies.replicas()).toEqual([
        { id: a, name: 'pod-a', silentMs, policyRevision: 3n, version: '1.2.3', seenAt },
        { id: b, name: 'pod-b', silentMs, policyRevision: 2n, version: null, seenAt },
      ]);
      const [before] = await store.policies.replicas();
      await store.ledger.heartbeat({
        ...{ ...beat, replicaId: a, name: 'pod-a', version: '1.2.4' },
        policyRevision: 4n,
      });
      const [after] = await store.policies.replicas();
      expect(after).toMatchObject({ policyRevision: 4n, version: '1.2.4' });
      expect(after?.seenAt.getTime()).toBeGreaterThan(before?.seenAt.getTime() ?? Infinity);
      await store.ledger.leave(a);
      expect((await store.policies.replicas()).map(({ id }) => id)).toEqual([b]);
    });

    it('includes those of the version before', async () => {
      const { store, url } = await open();
      const id = randomUUID();
      await postgres.sql(
        `insert into claude_gateway.replicas (id, name, policy_revision, expires_at)
         values ($1, 'old', 1, clock_timestamp() + interval '1 minute')`,
        [id],
        url,
      );
      const seenAt = expect.any(Date);
      expect(await store.policies.replicas()).toEqual([
        { id, name: 'old', silentMs: 0, policyRevision: 1n, version: null, seenAt },
      ]);
    });
  });

  it('of people is who signed in or asked for something', async () => {
    const { store } = await open();
    await store.usage.touch([
      { sub: 'ada', kind: 'user', email: 'Ada@X.example', name: null, groups: ['eng', 'a,b'], seenAt: NOW },
      { sub: 'Robot@X', kind: 'workload', email: null, name: null, groups: [], seenAt: NOW },
    ]);
    await store.sessions.create({
      id: randomUUID(),
      identity: newIdentity({ sub: 'bob', email: 'BOB@x.example', groups: ['ops'] }),
      refreshTokenHash: hash(),
      idpRefreshTokenSealed: null,
      now: NOW,
    });
    const seen = await store.policies.seen({
      groups: ['eng', 'a,b', 'ops', 'Eng', 'a', ''],
      users: [
        'ada',
        'Ada',
        'ADA@x.example',
        'ada@x.example',
        'bob@X.example',
        'bob',
        'robot@x',
        'Robot@X',
        'eve',
      ],
    });
    expect(seen.groups).toEqual(new Set(['eng', 'a,b', 'ops']));
    expect(seen.users).toEqual(
      new Set(['ada', 'ADA@x.example', 'ada@x.example', 'bob@X.example', 'bob', 'robot@x', 'Robot@X']),
    );
    expect(await store.policies.seen({ groups: [], users: [] })).toEqual({
      groups: new Set(),
      users: new Set(),
    });
  });

  describe('of clients of managed settings', () => {
    const OWNER = newOwner('m', { kind: 'ManagedSettings' });
    const OTHER = newOwner('n', { kind: 'ManagedSettings' });

    async function settle(): Promise<{ store: Store; url: string; hashes: string[] }> {
      const { store, url } = await open();
      await store.policies.replaceOwned(
        [
          {
            owner: OWNER,
            policyName: 'm',
            managed: [newPolicy({ name: 'm' }), newPolicy({ name: 'm/x', document: { x: 1 } })],
          },
          { owner: OTHER, policyName: 'n', managed: [newPolicy({ document: { y: 1 } })] },
        ],
        NOW,
      );
      const { policies } = await store.managedPolicies.readAll();
      return { store, url, hashes: policies.map(({ documentHash }) => documentHash) };
    }

    const fetched = (
      client: string,
      documents: Record<string, string | undefined>,
      when = NOW,
    ): SettingsFetch => ({
      client,
      principal: 'ada',
      documents: Object.entries(documents).map(([ownerUid, documentHash = '']) => ({
        ownerUid,
        documentHash,
      })),
      at: when,
    });

    it('is who has the present document, and who an older one', async () => {
      const { store, hashes } = await settle();
      const [m, mx, n] = hashes;
      expect(await store.policies.settingsClients(NOW)).toEqual(new Map());
      await store.settingsClients.record([]);
      await store.settingsClients.record([
        fetched('1', { m, n }),
        fetched('2', { m: mx, n: 'sha256:old' }),
        fetched('3', { m: 'sha256:old', gone: 'sha256:x' }),
        fetched('4', {}),
      ]);
      const counts = (now = NOW) => store.policies.settingsClients(now);
      expect(await counts()).toEqual(
        new Map([
          ['m', { current: 2, stale: 1 }],
          ['n', { current: 1, stale: 1 }],
        ]),
      );
      // The client's rows become exactly what it fetched now.
      await store.settingsClients.record([
        fetched('1', { n }, at(1)),
        fetched('3', { m }, at(1)),
        fetched('2', {}, at(1)),
      ]);
      expect(await counts()).toEqual(
        new Map([
          ['m', { current: 1, stale: 0 }],
          ['n', { current: 1, stale: 0 }],
        ]),
      );
      await store.policies.replaceOwned([{ owner: OTHER, policyName: 'n', managed: [newPolicy()] }], at(2));
      expect((await counts()).get('n')).toEqual({ current: 0, stale: 1 });
      expect((await counts(at(24 * HOUR_MS))).size).toBe(2);
      expect((await counts(at(24 * HOUR_MS + 1))).size).toBe(0);
    });

    it('is what each fetched last, in whatever order that arrives', async () => {
      const { store, url, hashes } = await settle();
      const [m, , n] = hashes;
      await store.settingsClients.record([
        fetched('1', { m }, at(5)),
        fetched('1', { n }, at(4)),
        fetched('1', { m: 'x' }, at(3)),
      ]);
      await store.settingsClients.record([fetched('1', { m: 'y', n }, at(2))]);
      const rows = () =>
        postgres.sql(
          'select client, owner_uid, document_hash, fetched_at from claude_gateway.settings_clients',
          [],
          url,
        );
      expect(await rows()).toEqual([['1', 'm', m, at(5)]]);
      await store.settingsClients.record([fetched('1', { n }, at(5))]);
      expect(await rows()).toEqual([['1', 'n', n, at(5)]]);
    });

    it('survives replicas that record the same clients at once', async () => {
      const { store, url, hashes } = await settle();
      const second = await postgres.open({ url });
      const [m, , n] = hashes;
      const clients = Array.from({ length: 60 }, (_, i) => `c${i}`);
      await Promise.all(
        Array.from({ length: 20 }, (_, i) => {
          const entries = clients.map((client) => fetched(client, i % 2 === 0 ? { m } : { n }, at(i)));
          return (i % 3 === 0 ? store : second).settingsClients.record(
            i % 4 < 2 ? entries : entries.reverse(),
          );
        }),
      );
      await store.settingsClients.record(clients.map((client) => fetched(client, { n }, at(99))));
      expect(await store.policies.settingsClients(NOW)).toEqual(new Map([['n', { current: 60, stale: 0 }]]));
    });

    it('does not stumble over odd names', async () => {
      const { store, hashes } = await settle();
      await store.settingsClients.record([{ ...fetched('a\0"\ud800', { m: hashes[0] }), principal: '\0' }]);
      expect((await store.policies.settingsClients(NOW)).get('m')).toEqual({ current: 1, stale: 0 });
    });
  });
});
