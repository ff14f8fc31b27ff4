import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  StoreUnavailableError,
  type LedgerStore,
  type SpendLimit,
  type UsageRecord,
} from '@claude-gateway/prisma';
import { createLog } from '../../../observe/log.ts';
import type { Principal } from '../../../principal.ts';
import { boundRequest } from '../../bound/testing/bound-request.ts';
import { compileCaps, type CapOptions } from '../../caps/compile.ts';
import { ReplicaLedger } from '../../ledger/replica-ledger.ts';
import { createPriceBook } from '../../prices/price-book.ts';
import type { CapSnapshot, Hold } from '../../types.ts';
import { createLearned, createSpend, type SpendDeps } from '../admission.ts';
import type { AdmissionCall, Admitted, CallEnd } from '../call.ts';
import { limit as limitOf, ORGANIZATION } from '../../caps/testing/limits.ts';

export const DOLLAR = 1_000_000_000n;

const QUIET = createLog('silent', { write: () => undefined });
/** A limit as the admin API would make it: ten dollars a month for each user of the organization, strict. */
export function limit({ scope, amount, ...settings }: Partial<SpendLimit> = {}): SpendLimit {
  return limitOf(scope ?? ORGANIZATION, amount === undefined ? 10n * DOLLAR : amount, settings);
}

export function snapshotOf(limits: readonly SpendLimit[], options: Partial<CapOptions> = {}): CapSnapshot {
  return compileCaps({ revision: 1n, limits }, { groupLimitMode: 'min', ...options });
}

/** Somebody whom no other test knows. */
export function somebody(groups: readonly string[] = []): Principal {
  const sub = `user-${randomUUID()}`;
  return { sub, email: `${sub}@corp.example`, groups, sid: 's', kind: 'user', expiresAt: 4_102_444_800 };
}

export const UPSTREAMS = [
  { upstream: { name: 'first' }, model: 'claude-opus-4-8' },
  { upstream: { name: 'second' }, model: 'claude-opus-4-8' },
];

export interface CallOptions {
  readonly principal?: Principal;
  readonly maxTokens?: number;
  readonly text?: string;
  readonly body?: object;
  readonly headers?: Record<string, string>;
  /** Aborted when the client goes. */
  readonly signal?: AbortSignal;
}

/** A request of about 150 bytes and the text, for Opus: 5 dollars a million in, 25 out. */
export function callOf(options: CallOptions = {}): AdmissionCall {
  const body = {
    model: 'claude-opus-4-8',
    max_tokens: options.maxTokens ?? 1000,
    messages: [{ role: 'user', content: options.text ?? 'hello' }],
    ...options.body,
  };
  return {
    context: {
      id: `req_${randomUUID()}`,
      clientAddress: '127.0.0.1',
      log: QUIET,
      startedAt: performance.now(),
    },
    principal: options.principal ?? somebody(),
    request: boundRequest(body, options.headers),
    model: 'claude-opus-4-8',
    candidates: UPSTREAMS,
    onGone: (listener) => options.signal?.addEventListener('abort', listener, { once: true }),
  };
}

/** An answer's end as the upstream room tells it. */
export function endOf(overrides: Partial<CallEnd> = {}): CallEnd {
  return {
    ending: 'complete',
    reached: 'answered',
    upstream: 'first',
    streamed: false,
    status: 200,
    firstByteMs: 12.4,
    durationMs: 99.6,
    ...overrides,
  };
}

/** Plays the upstream: an answer that used this much. @returns the headers that the client got. */
export function answer(
  admitted: Admitted,
  usage: Record<string, unknown>,
  end: Partial<CallEnd> = {},
): Record<string, unknown> | undefined {
  const headers = admitted.observer.onResponseStart(200, { 'content-type': 'application/json' }, 'first');
  admitted.observer.onResponseBytes(
    Buffer.from(JSON.stringify({ type: 'message', content: [{ type: 'text', text: 'hi' }], usage })),
  );
  admitted.observer.onResponseEnd(endOf(end));
  return headers;
}

export interface SpendBed {
  readonly ledger: ReplicaLedger;
  readonly records: UsageRecord[];
  readonly audit: Record<string, unknown>[];
  /** What each request is charged should the replica die. */
  readonly noted: (() => UsageRecord)[];
  /** Bodies whose tokens were asked for. */
  readonly counted: AdmissionCall[];
  setLimits(limits: readonly SpendLimit[]): void;
  admit(call: AdmissionCall): Admitted | Promise<Admitted>;
  /** Everything is settled in PostgreSQL. */
  settled(): Promise<void>;
}

export interface SpendBedOptions {
  readonly store: LedgerStore;
  readonly limits?: readonly SpendLimit[];
  /** What the upstream counts; undefined when it does not say. */
  readonly count?: () => number | undefined;
  /** Default 0: nobody waits. */
  readonly maxWaitMs?: number;
  readonly overrides?: Partial<SpendDeps<AdmissionCall>>;
}

/** Admission over the real ledger, the real prices and the real caps; only the upstream is played. */
export async function spendBed(options: SpendBedOptions): Promise<SpendBed> {
  const ledger = await ReplicaLedger.start({
    store: options.store,
    name: 'test',
    policyRevision: () => 1n,
    quietMs: 1_500,
    isUnavailable: (error) => error instanceof StoreUnavailableError,
    log: QUIET,
  });
  const records: UsageRecord[] = [];
  const audit: Record<string, unknown>[] = [];
  const noted: (() => UsageRecord)[] = [];
  const counted: AdmissionCall[] = [];
  let snapshot = snapshotOf(options.limits ?? []);
  const spend = createSpend<AdmissionCall>({
    caps: () => snapshot,
    areCapsOutdated: () => false,
    ledger: {
      hold: (id, needs) => ledger.hold(id, needs),
      wait: (id, choices, patience) => ledger.wait(id, choices, patience),
      admitUnheld: (id, needs) => ledger.admitUnheld(id, needs),
      note(hold, floor) {
        noted.push(floor);
        ledger.note(hold, floor);
      },
      settle(hold: Hold, record, windowIds) {
        records.push(record);
        ledger.settle(hold, record, windowIds);
      },
      release: (hold) => ledger.release(hold),
      peek: (windowId) => ledger.peek(windowId),
    },
    prices: createPriceBook({ pricing: undefined }),
    countTokens: (call) => {
      counted.push(call);
      return Promise.resolve(options.count?.());
    },
    learned: createLearned(),
    seen: () => undefined,
    onCharge: () => undefined,
    onBlocked: () => undefined,
    audit: (event, fields) => audit.push({ event, ...fields }),
    clock: () => Date.now(),
    enforcement: { fail_closed_on_error: false, min_output_tokens: 100, max_wait_ms: options.maxWaitMs ?? 0 },
    blockedMessage: undefined,
    ...options.overrides,
  });
  return {
    ledger,
    records,
    audit,
    noted,
    counted,
    setLimits: (limits) => {
      snapshot = snapshotOf(limits);
    },
    admit: (call) => spend.admit(call),
    settled: async () => {
      while (ledger.pending > 0) await sleep(5);
    },
  };
}
