import { describe, expect, it } from '@jest/globals';
import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { StoreUnavailableError } from '../errors.ts';
import { newUsage, newWindow } from '../testing/ledger.ts';
import { POSTGRES_VERSIONS, usePostgres } from '../testing/postgres.ts';
import type { Store } from '../types.ts';
import type { LedgerStore, Settlement, UsageRecord, WindowSpec } from './types.ts';

const SEED = Number(process.env.LEDGER_SEED ?? 20_270_301);

/** Every write of a window with a cap is watched by the database itself. */
const WATCH = `
  CREATE FUNCTION claude_gateway.watch() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN
    IF NEW.spent + NEW.held > NEW.cap THEN RAISE 'cap exceeded: % + % > %', NEW.spent, NEW.held, NEW.cap; END IF;
    RETURN NEW;
  END $$;
  CREATE TRIGGER watch BEFORE INSERT OR UPDATE ON claude_gateway.budget_windows
    FOR EACH ROW EXECUTE FUNCTION claude_gateway.watch()`;

/** Windows that are not the sum of the records that they cover, or not the sum of their leases. */
const WRONG = `
  SELECT w.id, w.spent, w.held, r.spent, l.held
    FROM claude_gateway.budget_windows w,
         LATERAL (SELECT coalesce(sum(CASE w.unit WHEN 'nano_usd' THEN cost_nano_usd ELSE
                    input_tokens + output_tokens + cache_write_5m_tokens + cache_write_1h_tokens END), 0) AS spent
                    FROM claude_gateway.usage_records u
                   WHERE u.admitted_at >= w.starts_at AND u.admitted_at < w.ends_at
                     AND CASE w.subject_kind WHEN 'user' THEN u.sub = w.subject
                         WHEN 'group_pool' THEN w.subject = ANY (u.groups) ELSE true END) r,
         LATERAL (SELECT coalesce(sum(amount), 0) AS held
                    FROM claude_gateway.budget_leases l WHERE l.window_id = w.id) l
   WHERE w.spent <> r.spent OR w.held <> l.held`;

/** mulberry32 */
function seeded(seed: number): (below: number) => number {
  let a = seed;
  return (below) => {
    a = (a + 0x6d2b79f5) | 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 4294967296) * below);
  };
}

type Random = ReturnType<typeof seeded>;

function uuidFrom(random: Random): string {
  const hex = createHash('sha256')
    .update(String(random(2 ** 32)) + String(random(2 ** 32)))
    .digest('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

const DAY_MS = 86_400_000;
/** Long enough ago that windows are added up by hours, too. */
const DAY = Math.floor(Date.now() / DAY_MS) * DAY_MS - 5 * DAY_MS;
const USERS = 12;
const GROUPS = 4;

function someRecord(random: Random): UsageRecord {
  return newUsage({
    id: uuidFrom(random),
    sub: `user-${random(USERS)}`,
    groups: Array.from({ length: random(3) }, () => `group-${random(GROUPS)}`),
    costNanoUsd: BigInt(1 + random(1_000)),
    inputTokens: random(100),
    // Two days: the windows are of the first, and not of all of it.
    admittedAt: new Date(DAY + (random(10) === 0 ? DAY_MS : random(DAY_MS))),
  });
}

function covers({ subject, startsAt, endsAt }: WindowSpec, record: UsageRecord): boolean {
  if (record.admittedAt < startsAt || record.admittedAt >= endsAt) return false;
  if (subject.kind === 'user') return subject.sub === record.sub;
  return subject.kind === 'organization_pool' || record.groups.includes(subject.group);
}

function allWindows(random: Random): WindowSpec[] {
  const some = (): Pick<WindowSpec, 'id' | 'startsAt' | 'endsAt'> => {
    const startsAt = new Date(DAY + (random(2) === 0 ? 0 : random(DAY_MS / 10)));
    return { id: uuidFrom(random), startsAt, endsAt: new Date(DAY + DAY_MS) };
  };
  const windows = [newWindow({ kind: 'organization_pool' }, some())];
  for (let i = 0; i < GROUPS; i++) {
    windows.push(newWindow({ kind: 'group_pool', group: `group-${i}` }, some()));
  }
  for (let i = 0; i < USERS; i++) {
    windows.push(newWindow({ kind: 'user', sub: `user-${i}` }, some()));
    windows.push(newWindow({ kind: 'user', sub: `user-${i}` }, { ...some(), unit: 'tokens' }));
  }
  return windows;
}

function shuffled<T>(items: readonly T[], random: Random): T[] {
  return items
    .map((item) => ({ item, key: random(2 ** 31) }))
    .sort((a, b) => a.key - b.key)
    .map(({ item }) => item);
}

/** Tries until PostgreSQL answers. Calls that may have been carried out although they failed must bear it. */
async function stubbornly<T>(work: () => Promise<T>, onFailure: () => void = () => undefined): Promise<T> {
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof StoreUnavailableError)) throw error;
      onFailure();
      await sleep(20);
    }
  }
}

/** A replica as the gateway has it: holds out of leases, settles in batches, leases while it settles. */
class Replica {
  readonly id: string;
  settled = 0;
  refused = 0;
  readonly #ledger: LedgerStore;
  readonly #random: Random;
  readonly #windows: readonly WindowSpec[];
  readonly #cap: bigint;
  readonly #free = new Map<string, bigint>();
  readonly #finished: Settlement[] = [];
  #failed = false;

  constructor(ledger: LedgerStore, random: Random, windows: readonly WindowSpec[], cap: bigint) {
    this.#ledger = ledger;
    this.#random = random;
    this.#windows = windows;
    this.#cap = cap;
    this.id = uuidFrom(random);
  }

  async run(steps: number): Promise<void> {
    await stubbornly(() => this.beat());
    let holding = true;
    await Promise.all([
      (async () => {
        for (let i = 0; i < steps; i++) await this.#hold(someRecord(this.#random));
        holding = false;
      })(),
      (async () => {
        while (holding || this.#finished.length > 0) {
          await this.#settle();
          await sleep(this.#random(3));
        }
      })(),
    ]);
  }

  async beat(inFlight: readonly Settlement[] = []): Promise<boolean> {
    return this.#ledger.heartbeat({
      replicaId: this.id,
      name: 'pod',
      policyRevision: 1n,
      ttlMs: 60_000,
      inFlight,
    });
  }

  /** All of them hold more than they cost. */
  async #hold(record: UsageRecord): Promise<void> {
    const paying = shuffled(this.#windows, this.#random).filter((window) => covers(window, record));
    const need = (window: WindowSpec): bigint =>
      window.unit === 'tokens' ? 60_000n : record.costNanoUsd + BigInt(this.#random(500));
    const needs = new Map(paying.map((window) => [window.id, need(window)]));
    const short = paying.filter(({ id }) => (this.#free.get(id) ?? 0n) < needs.get(id)!);
    if (short.length > 0) {
      const asks = short.map(({ id, unit }) => ({
        windowId: id,
        cap: unit === 'tokens' ? this.#cap * 60n : this.#cap,
        need: needs.get(id)! - (this.#free.get(id) ?? 0n),
        extra: BigInt(this.#random(2_000)),
      }));
      // What is leased by a call that failed stays leased; it is given back at the end.
      const answers = await stubbornly(() => this.#ledger.lease(this.id, asks));
      for (const { windowId, granted, spent, held, leased } of answers) {
        const { cap, need: asked, extra } = asks.find((ask) => ask.windowId === windowId)!;
        expect(spent + held).toBeLessThanOrEqual(cap);
        expect(granted).toBeLessThanOrEqual(asked + extra);
        expect(leased).toBeGreaterThanOrEqual(granted);
        this.#free.set(windowId, (this.#free.get(windowId) ?? 0n) + granted);
      }
    }
    if (paying.some(({ id }) => (this.#free.get(id) ?? 0n) < needs.get(id)!)) {
      this.refused++;
      return;
    }
    for (const { id } of paying) this.#free.set(id, this.#free.get(id)! - needs.get(id)!);
    for (const { id, unit } of paying) {
      const cost = unit === 'tokens' ? BigInt(record.inputTokens) + 54_020n : record.costNanoUsd;
      this.#free.set(id, this.#free.get(id)! + needs.get(id)! - cost);
    }
    this.#finished.push({ record, windowIds: paying.map(({ id }) => id) });
  }

  async #settle(): Promise<void> {
    const settlements = this.#finished.slice(0, 1 + this.#random(40));
    let returns = shuffled([...this.#free], this.#random)
      .filter(([, free]) => free > 0n)
      .slice(0, this.#random(6))
      .map(([windowId, free]) => ({ windowId, amount: 1n + BigInt(this.#random(Number(free))) }));
    for (const { windowId, amount } of returns) this.#free.set(windowId, this.#free.get(windowId)! - amount);
    await stubbornly(
      () => this.#ledger.settle(this.id, { settlements, returns }),
      () => {
        // They may have been taken.
        returns = [];
        this.#failed = true;
      },
    );
    // Now and then an answer is lost, and the batch comes again.
    if (this.#random(10) === 0)
      await stubbornly(() => this.#ledger.settle(this.id, { settlements, returns: [] }));
    this.#finished.splice(0, settlements.length);
    this.settled += settlements.length;
  }

  /** What this replica believes to have at hand is what PostgreSQL has for it. */
  async expectAgreement(): Promise<void> {
    if (this.#failed) return;
    const asks = this.#windows.map(({ id }) => ({ windowId: id, cap: this.#cap, need: 0n, extra: 0n }));
    for (const { windowId, leased } of await this.#ledger.lease(this.id, asks)) {
      expect(leased).toBe(this.#free.get(windowId) ?? 0n);
    }
  }
}

describe.each(POSTGRES_VERSIONS)('races on PostgreSQL %i', (version) => {
  const postgres = usePostgres(version);

  async function openStores(count: number, watched = true): Promise<{ url: string; stores: Store[] }> {
    const url = await postgres.server.createDatabase();
    const stores: Store[] = [];
    while (stores.length < count) stores.push(await postgres.open({ url, maxConnections: 8 }));
    if (watched) await postgres.sql(WATCH, undefined, url);
    return { url, stores };
  }

  async function expectExact(url: string): Promise<void> {
    expect(await postgres.sql(WRONG, [], url)).toEqual([]);
    // The store would have tried again.
    const deadlocks = 'select deadlocks::int from pg_stat_database where datname = current_database()';
    expect(await postgres.sql(deadlocks, [], url)).toEqual([[0]]);
  }

  it('between replicas never take a window over its cap, and lose nothing', async () => {
    const { url, stores } = await openStores(3);
    const random = seeded(SEED);
    const windows = allWindows(random);
    await stores[0]!.ledger.openWindows(windows);
    const replicas = Array.from(
      { length: 6 },
      (_, i) => new Replica(stores[i % 3]!.ledger, seeded(SEED + i), windows, 100_000n),
    );
    await Promise.all(replicas.map((replica) => replica.run(400)));
    for (const replica of replicas) await replica.expectAgreement();
    await expectExact(url);
    // The caps were reached, or nothing was shown.
    expect(replicas.some(({ refused }) => refused > 0)).toBe(true);
    const [count] = await postgres.sql('select count(*)::int from claude_gateway.usage_records', [], url);
    expect(count).toEqual([replicas.reduce((sum, { settled }) => sum + settled, 0)]);
    await Promise.all(replicas.map(({ id }, i) => stores[i % 3]!.ledger.leave(id)));
    const [held] = await postgres.sql('select sum(held)::int from claude_gateway.budget_windows', [], url);
    expect(held).toEqual([0]);
    await expectExact(url);
  }, 120_000);

  it('between settlements and windows that are opened lose no record and count none twice', async () => {
    for (let round = 0; round < 6; round++) {
      const { url, stores } = await openStores(3, false);
      const random = seeded(SEED + round);
      const windows = allWindows(random);
      let opening = true;
      const settle = async ({ ledger }: Store, mine: Random): Promise<void> => {
        const replica = uuidFrom(mine);
        const floors: Settlement[] = [];
        while (opening || floors.length > 0) {
          const settlements: Settlement[] = Array.from({ length: 1 + mine(8) }, () => {
            const record = someRecord(mine);
            // It names those that its replica knows of: some.
            const known = windows.filter((window) => covers(window, record) && mine(2) === 0);
            return { record, windowIds: known.map(({ id }) => id) };
          });
          settlements.push(...floors.splice(0));
          if (opening && mine(3) === 0) {
            // Written off, and corrected with the next batch.
            const [{ record, windowIds }] = settlements.splice(0, 1) as unknown as [Settlement];
            floors.push({ record, windowIds });
            const floor = { ...record, costNanoUsd: 1n, outputTokens: 0, outcome: 'abandoned' as const };
            settlements.push({ record: floor, windowIds });
          }
          await ledger.settle(replica, { settlements, returns: [] });
        }
      };
      const open = async ({ ledger }: Store, mine: Random): Promise<void> => {
        const order = shuffled(windows, mine);
        while (order.length > 0) {
          const some = order.splice(0, 1 + mine(3));
          await sleep(mine(8));
          expect(await ledger.openWindows(some)).toHaveLength(some.length);
        }
      };
      const rollUp = async (): Promise<void> => {
        while (opening) {
          const [[now]] = (await postgres.sql('select clock_timestamp()::text', [], url)) as [[string]];
          if (!(await stores[0]!.usage.rollUp())) continue;
          // It has everything that was settled until then, and would leave the last minute to be added up again.
          await postgres.sql(
            'update claude_gateway.usage_rollup set settled_until = greatest(settled_until, $1::timestamptz)',
            [now],
            url,
          );
        }
      };
      const rolling = rollUp();
      const settlers = stores.flatMap((store, i) =>
        [0, 1, 2].map((j) => settle(store, seeded(SEED + 100 * round + 10 * i + j))),
      );
      await Promise.all(stores.map((store, i) => open(store, seeded(SEED + 1000 * round + i))));
      opening = false;
      await Promise.all([...settlers, rolling]);
      const [count] = await postgres.sql('select count(*)::int from claude_gateway.budget_windows', [], url);
      expect(count).toEqual([windows.length]);
      await expectExact(url);
    }
  }, 120_000);

  it('between a replica and those who take it for dead end with the true costs', async () => {
    const { url, stores } = await openStores(3, false);
    const random = seeded(SEED);
    const windows = allWindows(random);
    await stores[0]!.ledger.openWindows(windows);
    let working = true;
    const costs = new Map<string, bigint>();
    const work = async ({ ledger }: Store, mine: Random): Promise<void> => {
      const replicaId = uuidFrom(mine);
      const beat = (inFlight: readonly Settlement[]): Promise<boolean> =>
        ledger.heartbeat({ replicaId, name: 'pod', policyRevision: 1n, ttlMs: mine(30), inFlight });
      for (let i = 0; i < 120; i++) {
        const settlements = Array.from({ length: 1 + mine(5) }, () => {
          const record = someRecord(mine);
          costs.set(record.id, record.costNanoUsd);
          return {
            record,
            windowIds: windows.filter((window) => covers(window, record)).map(({ id }) => id),
          };
        });
        const floors = settlements.map(({ record, windowIds }) => ({
          record: { ...record, costNanoUsd: 1n, outputTokens: 0, outcome: 'abandoned' as const },
          windowIds,
        }));
        await beat(floors);
        const asks = windows
          .slice(0, 8)
          .map(({ id }) => ({ windowId: id, cap: 10n ** 9n, need: 500n, extra: 0n }));
        await ledger.lease(replicaId, asks);
        await sleep(mine(25));
        const late = mine(3) === 0 ? beat(floors.slice(0, 1)) : undefined;
        const returns = asks.slice(0, mine(4)).map(({ windowId }) => ({ windowId, amount: 400n }));
        await ledger.settle(replicaId, { settlements, returns });
        await late;
      }
    };
    const sweep = async ({ ledger }: Store): Promise<number> => {
      let swept = 0;
      while (working) {
        swept += (await ledger.sweep()).reduce((sum, { abandoned }) => sum + abandoned, 0);
        await sleep(3);
      }
      return swept;
    };
    const sweepers = stores.map((store) => sweep(store));
    await Promise.all(
      stores.flatMap((store, i) => [0, 1].map((j) => work(store, seeded(SEED + 10 * i + j)))),
    );
    await sleep(50);
    working = false;
    const abandoned = (await Promise.all(sweepers)).reduce((sum, count) => sum + count, 0);
    expect(abandoned).toBeGreaterThan(20);
    await stores[0]!.ledger.sweep();
    await expectExact(url);
    const records = await postgres.sql(
      'select id, cost_nano_usd::text, outcome from claude_gateway.usage_records',
      [],
      url,
    );
    expect(new Map(records.map(([id, cost]) => [id, BigInt(cost as string)]))).toEqual(costs);
    expect(records.filter(([, , outcome]) => outcome !== 'complete')).toEqual([]);
    const [held] = await postgres.sql('select sum(held)::int from claude_gateway.budget_windows', [], url);
    expect(held).toEqual([0]);
    for (const table of ['budget_leases', 'in_flight_requests', 'replicas']) {
      expect(await postgres.sql(`select from claude_gateway.${table}`, [], url)).toEqual([]);
    }
  }, 120_000);

  it('between leases and write-offs leave nothing that belongs to nobody', async () => {
    const { url, stores } = await openStores(3, false);
    const windows = allWindows(seeded(SEED)).slice(0, 4);
    await stores[0]!.ledger.openWindows(windows);
    const asks = windows.map(({ id }) => ({ windowId: id, cap: 10n ** 12n, need: 1n, extra: 0n }));
    const [leasing, ...sweeping] = stores as [Store, ...Store[]];
    const random = seeded(SEED);
    for (let i = 0; i < 400; i++) {
      const replicaId = uuidFrom(random);
      const name = `pod-${i}`;
      await leasing.ledger.heartbeat({ replicaId, name, policyRevision: 1n, ttlMs: 0, inFlight: [] });
      await Promise.all([
        leasing.ledger.lease(replicaId, asks),
        ...sweeping.map(async ({ ledger }) => {
          await sleep(random(2));
          await ledger.sweep();
        }),
      ]);
    }
    await stores[0]!.ledger.sweep();
    expect(await postgres.sql('select from claude_gateway.budget_leases', [], url)).toEqual([]);
    await expectExact(url);
  }, 120_000);

  it('with connections that break, and with PostgreSQL itself, settle everything once', async () => {
    const { url, stores } = await openStores(2);
    const random = seeded(SEED);
    const windows = allWindows(random);
    await stores[0]!.ledger.openWindows(windows);
    const replicas = Array.from(
      { length: 4 },
      (_, i) => new Replica(stores[i % 2]!.ledger, seeded(SEED + i), windows, 10n ** 6n),
    );
    let working = true;
    let broken = 0;
    const disturb = async (): Promise<void> => {
      for (let i = 1; working; i++) {
        await sleep(20 + random(30));
        if (i % 40 === 20) {
          await (i % 80 === 20 ? postgres.server.kill() : postgres.server.pause());
          await postgres.server.restart();
          continue;
        }
        const client = new pg.Client({ connectionString: url });
        try {
          await client.connect();
          // In mid-statement, whatever it waits for or does.
          const { rowCount } = await client.query(
            `select pg_terminate_backend(pid) from pg_stat_activity
              where datname = current_database() and state = 'active' and pid <> pg_backend_pid()
              order by query_start limit 2`,
          );
          broken += rowCount ?? 0;
        } catch {
          // Gone itself.
        } finally {
          await client.end().catch(() => undefined);
        }
      }
    };
    const disturber = disturb();
    await Promise.all(replicas.map((replica) => replica.run(300)));
    working = false;
    await disturber;
    expect(broken).toBeGreaterThan(5);
    await expectExact(url);
    const [count] = await postgres.sql('select count(*)::int from claude_gateway.usage_records', [], url);
    expect(count).toEqual([replicas.reduce((sum, { settled }) => sum + settled, 0)]);
    await Promise.all(replicas.map(({ id }, i) => stubbornly(() => stores[i % 2]!.ledger.leave(id))));
    const [held] = await postgres.sql('select sum(held)::int from claude_gateway.budget_windows', [], url);
    expect(held).toEqual([0]);
  }, 180_000);
});
