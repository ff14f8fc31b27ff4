import { again } from '../again.ts';
import type { Database } from '../database.ts';
import { StoreUnavailableError } from '../errors.ts';
import type { TextRow } from '../gated-query.ts';
import type { Notifications } from '../notifications.ts';
import { storable, storableKey } from '../storable.ts';
import { clampAmount } from './amounts.ts';
import { LEASE, LEASE_GATE } from './lease.ts';
import { READ_RECALLS, RECALL, RECALL_CHANNEL, RECALL_POLL_MS } from './recalls.ts';
import { recordJson } from './records.ts';
import { EXPIRED, HEARTBEAT, LEAVE, leaveGate } from './replicas.ts';
import { CHARGE_GATE, CORRECT, OPEN_GATE, SETTLE, WRITE_OFF, writeOffGate } from './settle.ts';
import type {
  BudgetSubject,
  Heartbeat,
  LeaseAnswer,
  LeaseAsk,
  LeaseReturn,
  LedgerStore,
  SettleAnswer,
  Settlement,
  SweptReplica,
  WindowSpec,
  WindowState,
} from './types.ts';
import { BY_INDEX, OPEN_WINDOWS, WINDOW_STATES } from './windows.ts';

/** Adding up what was spent before may take longer than anything that requests wait for. In ms. */
const OPEN_TIMEOUT_MS = 60_000;
/**
 * The windows that were made are there again when they are asked for after a crash; what is leased from them waits for
 * the disk, and everything before it.
 */
const OPEN = `${OPEN_GATE}, ${BY_INDEX}, set_config('synchronous_commit', 'off', true), set_config('statement_timeout', '${OPEN_TIMEOUT_MS}', true)`;
/** A NOTIFY takes less than 8000 bytes. */
const RECALL_BATCH = 150;

/** See {@link LedgerStore}, and docs/adr/0014-ledger.md. */
export class PostgresLedgerStore implements LedgerStore {
  readonly #database: Database;
  readonly #notifications: Pick<Notifications, 'listen' | 'hears'>;
  /** Replicas that recall through this store: they hear themselves, too. */
  readonly #recallers = new Set<string>();

  constructor(database: Database, notifications: Pick<Notifications, 'listen' | 'hears'>) {
    this.#database = database;
    this.#notifications = notifications;
  }

  async openWindows(windows: readonly WindowSpec[]): Promise<readonly WindowState[]> {
    const opened = await again(() =>
      this.#database.gated(
        OPEN,
        OPEN_WINDOWS,
        [JSON.stringify(windows.map(windowJson))],
        OPEN_TIMEOUT_MS + 1_000,
      ),
    );
    return opened.map(stateOf);
  }

  async lease(replicaId: string, asks: readonly LeaseAsk[]): Promise<readonly LeaseAnswer[]> {
    if (asks.length === 0) return [];
    const json = asks.map(({ windowId, cap, need, extra }) => ({
      window_id: windowId,
      cap: String(clampAmount(cap)),
      need: String(clampAmount(need)),
      extra: String(clampAmount(extra)),
    }));
    const rows = await again(() =>
      this.#database.gated(LEASE_GATE, LEASE, [replicaId, JSON.stringify(json)]),
    );
    return rows.map((row) => ({ ...stateOf(row), granted: BigInt(row[3]!), leased: BigInt(row[4]!) }));
  }

  async settle(
    replicaId: string,
    batch: { readonly settlements: readonly Settlement[]; readonly returns: readonly LeaseReturn[] },
  ): Promise<SettleAnswer> {
    const { settlements, returns } = batch;
    if (settlements.length === 0 && returns.length === 0) return { windows: [] };
    const records = JSON.stringify(settlements.map(settlementJson));
    const values = [replicaId, records, JSON.stringify(returns.map(returnJson))];
    const rows = await again(() => this.#database.gated(CHARGE_GATE, SETTLE, values));
    const windows = new Map<string, SettleAnswer['windows'][number]>();
    for (const [, ...row] of rows) {
      if (row[0] !== null) windows.set(row[0]!, { ...stateOf(row), leased: BigInt(row[3]!) });
    }
    if (Number(rows[0]?.[0]) < settlements.length) {
      // Settled before, or written off.
      const corrected = await again(() => this.#database.gated(CHARGE_GATE, CORRECT, [records]));
      for (const row of corrected) {
        const state = stateOf(row);
        windows.set(state.windowId, { leased: 0n, ...windows.get(state.windowId), ...state });
      }
    }
    return { windows: [...windows.values()] };
  }

  async heartbeat(beat: Heartbeat): Promise<boolean> {
    const notes = beat.inFlight.map(({ record, windowIds }) => ({
      id: record.id,
      window_ids: windowIds,
      record: recordJson(record),
    }));
    const rows = await again(() =>
      this.#database.prepared(HEARTBEAT, [
        beat.replicaId,
        beat.name,
        String(beat.policyRevision),
        Math.round(beat.ttlMs),
        JSON.stringify(notes),
        beat.version ?? null,
        String(this.#notifications.hears),
      ]),
    );
    return rows[0]?.[0] === 't';
  }

  async leave(replicaId: string): Promise<void> {
    await again(() => this.#database.gated(leaveGate(uuid(replicaId)), LEAVE, [replicaId]));
  }

  async sweep(): Promise<readonly SweptReplica[]> {
    const expired = await this.#database.query<{ id: string }>(EXPIRED);
    const swept: SweptReplica[] = [];
    let failure: Error | undefined;
    for (const { id } of expired) {
      try {
        const [row] = await again(() => this.#database.gated(writeOffGate(uuid(id)), WRITE_OFF, [id]));
        if (row === undefined) continue;
        swept.push({ replicaId: id, name: row[0]!, abandoned: Number(row[1]), windows: Number(row[2]) });
      } catch (error) {
        if (error instanceof StoreUnavailableError) throw error;
        // What one left behind must not keep what the others held.
        failure = error as Error;
      }
    }
    if (failure !== undefined && swept.length === 0) throw failure;
    return swept;
  }

  async recall(replicaId: string, windowIds: readonly string[]): Promise<{ slow: boolean }> {
    this.#recallers.add(replicaId);
    let slow = false;
    for (let i = 0; i < windowIds.length; i += RECALL_BATCH) {
      const batch = windowIds.slice(i, i + RECALL_BATCH);
      const payload = [replicaId, ...batch].join(' ');
      const values = [replicaId, `{${batch.join(',')}}`, RECALL_CHANNEL, payload];
      const [row] = await again(() => this.#database.query<{ found: boolean }>(RECALL, values));
      slow ||= row?.found ?? false;
    }
    return { slow };
  }

  onRecall(listener: (windowIds: readonly string[]) => void, holds: () => boolean = () => true): () => void {
    const stop = this.#notifications.listen(RECALL_CHANNEL, (payload) => {
      const [replicaId, ...windowIds] = payload.split(' ');
      if (!this.#recallers.has(replicaId ?? '')) listener(windowIds);
    });
    let looking = false;
    const timer = setInterval(() => {
      if (looking || this.#notifications.hears || !holds()) return;
      looking = true;
      // While PostgreSQL is away nobody can be short of what it says.
      void this.#recalledByOthers()
        .then((ids) => ids.length > 0 && listener(ids))
        .catch(() => undefined)
        .finally(() => (looking = false));
    }, RECALL_POLL_MS).unref();
    return () => {
      stop();
      clearInterval(timer);
    };
  }

  async #recalledByOthers(): Promise<readonly string[]> {
    const ours = `{${[...this.#recallers].join(',')}}`;
    return (await this.#database.query<{ id: string }>(READ_RECALLS, [ours])).map(({ id }) => id);
  }

  async windows(windowIds: readonly string[]): Promise<readonly WindowState[]> {
    if (windowIds.length === 0) return [];
    return (await this.#database.prepared(WINDOW_STATES, [`{${windowIds.join(',')}}`])).map(stateOf);
  }
}

function stateOf([windowId, spent, held]: TextRow): WindowState {
  return { windowId: windowId!, spent: BigInt(spent!), held: BigInt(held!) };
}

function settlementJson({ record, windowIds }: Settlement): unknown {
  return { ...recordJson(record), window_ids: [...new Set(windowIds)] };
}

function returnJson({ windowId, amount }: LeaseReturn): unknown {
  return { window_id: windowId, amount: String(clampAmount(amount)) };
}

function windowJson({ subject, ...window }: WindowSpec): unknown {
  return {
    id: window.id,
    subject_kind: subject.kind,
    subject: subjectName(subject),
    unit: window.unit,
    period: window.period,
    time_zone: storable(window.timeZone),
    starts_at: window.startsAt,
    ends_at: window.endsAt,
    named_only: window.namedOnly === true,
  };
}

/** As in usage records, so that they find their windows. */
function subjectName(subject: BudgetSubject): string {
  switch (subject.kind) {
    case 'user':
      return storableKey(subject.sub);
    case 'group_pool':
      return storableKey(subject.group);
    case 'organization_pool':
      return '';
  }
}

/** Gates are plain text. */
function uuid(id: string): string {
  if (!/^[0-9a-f-]{36}$/i.test(id)) throw new TypeError('a replica is named by a UUID');
  return id;
}
