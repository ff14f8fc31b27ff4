import { setTimeout as sleep } from 'node:timers/promises';
import { quietTimeZone, usd, type Cap, type Developer } from '../spend/caps.ts';
import { Client, type Got } from '../spend/client.ts';
import { startFleet, type Fleet, type FleetOptions } from '../spend/fleet.ts';
import { LedgerObserver, type RecordRow } from '../spend/ledger-observer.ts';
import { dueFor, type Bill } from './cloud-bill.ts';
import type { Conduct } from './cloud-conduct.ts';
import { markerOf, startCloud, type Cloud, type CloudOptions } from './cloud.ts';

/** How long until a new cap is in force everywhere, at the latest. */
const ENFORCED_WITHIN_MS = 3_000;
const SETTLED_WITHIN_MS = 10_000;
export const CHEAP = 'claude-haiku-4-5';
export const DEAR = 'claude-opus-4-8';

export interface BedOptions extends Pick<CloudOptions, 'headers' | 'preamble'> {
  readonly replicas?: number;
  readonly config?: Record<string, unknown>;
  readonly failurePolicy?: 'open' | 'closed';
  /** Of the caps' days; one in which it is about noon now unless set. */
  readonly timeZone?: string;
  /** What time it is for the gateways, in ms since the epoch, where that is not the true one. */
  readonly now?: () => number;
  /** Developers with a strict daily cap of their own, in dollars. */
  readonly caps: Readonly<Record<string, string>>;
  readonly fleet?: Partial<FleetOptions>;
}

/** One request as all three saw it: who asked, the cloud, and the ledger. */
export interface Account {
  readonly got: Got;
  readonly bills: readonly Bill[];
  /** What the cloud bills, in nano-USD, as far as the docs have the gateway pay for it. */
  readonly billed: bigint;
}

/** Real gateways in front of a cloud that keeps a bill of its own. */
export interface Bed {
  readonly fleet: Fleet;
  readonly cloud: Cloud;
  readonly observer: LedgerObserver;
  readonly client: Client;
  /** @param text The whole body; `#` in it becomes the marker of its bill. */
  ask(sub: string, text: string | Buffer, conduct?: Conduct, options?: AskOptions): Promise<Account>;
  /** Somebody's usage records, once there is one for each request that the cloud bills. */
  recorded(sub: string): Promise<readonly RecordRow[]>;
  /** The sum over them, in nano-USD. */
  charged(sub: string): Promise<bigint>;
  stop(): Promise<void>;
}

export interface AskOptions {
  readonly replica?: number;
  readonly abortAfterMs?: number;
  readonly session?: string;
}

export async function startBed(options: BedOptions): Promise<Bed> {
  const conducts = new Map<string, Conduct>();
  const cloud = await startCloud({
    conductOf: (marker) => conducts.get(marker) ?? {},
    ...(options.headers === undefined ? {} : { headers: options.headers }),
    ...(options.preamble === undefined ? {} : { preamble: options.preamble }),
  });
  const fleet = await startFleet({
    replicas: options.replicas ?? 1,
    upstreamUrl: cloud.url,
    config: options.config ?? {},
    ...options.fleet,
  }).catch(async (error: unknown) => {
    await cloud.stop();
    throw error;
  });
  const client = new Client();
  const observer = new LedgerObserver(fleet.databaseUrl);
  const stop = async (): Promise<void> => {
    client.close();
    await fleet.stop();
    await cloud.stop();
  };
  try {
    const caps = Object.entries(options.caps).map(([user, dollars]): Cap => ({
      scope: { type: 'user', user },
      period: 'daily',
      unit: 'nano_usd',
      amount: usd(dollars),
      timeZone: options.timeZone ?? quietTimeZone(),
      ...(options.failurePolicy === undefined ? {} : { failurePolicy: options.failurePolicy }),
    }));
    await observer.install(
      caps.map(({ scope, unit, period, amount }) => ({
        subjectKind: 'user' as const,
        subject: scope.type === 'user' ? scope.user : '',
        unit,
        period,
        amount,
      })),
    );
    for (const cap of caps) await fleet.admin.set(cap);
    await sleep(ENFORCED_WITHIN_MS);
  } catch (error) {
    await stop();
    throw error;
  }
  const bearers = new Map<string, string>();
  const bearerOf = (sub: string): string => {
    const developer: Developer = { sub, groups: [] };
    if (options.now !== undefined) return fleet.bearer(developer, options.now());
    const known = bearers.get(sub) ?? fleet.bearer(developer);
    bearers.set(sub, known);
    return known;
  };
  let last = 0;
  const records = async (sub: string): Promise<readonly RecordRow[]> =>
    (await observer.records()).filter((record) => record.sub === sub);
  const markers = new Map<string, string[]>();
  /** One record for each request that the cloud got and did not refuse, of somebody. */
  const recorded = async (sub: string): Promise<readonly RecordRow[]> => {
    await cloud.idle();
    const bills = (markers.get(sub) ?? []).flatMap((marker) => cloud.billsOf(marker));
    const due = bills.filter(({ end }) => end !== 'refused').length;
    const deadline = performance.now() + SETTLED_WITHIN_MS;
    for (;;) {
      const rows = await records(sub);
      if (rows.length >= due || performance.now() > deadline) return rows;
      await sleep(50);
    }
  };
  return {
    fleet,
    cloud,
    observer,
    client,
    async ask(sub, text, conduct = {}, { replica = 0, ...sending } = {}) {
      const marker = `attack-${last++}`;
      conducts.set(marker, conduct);
      markers.set(sub, [...(markers.get(sub) ?? []), marker]);
      const body =
        typeof text === 'string' ? Buffer.from(text.replaceAll('#', () => markerOf(marker))) : text;
      const url = fleet.replicas[replica]?.url ?? '';
      const got = await client.send(url, bearerOf(sub), body, sending);
      return {
        got,
        get bills() {
          return cloud.billsOf(marker);
        },
        get billed() {
          // Of a client that went before the answer the gateway has it all the same.
          const hasAnswer = got.status === 200 || got.status === 0;
          return cloud.billsOf(marker).reduce((sum, bill) => sum + dueFor(bill, hasAnswer), 0n);
        },
      };
    },
    async charged(sub) {
      return (await recorded(sub)).reduce((sum, { cost }) => sum + cost, 0n);
    },
    recorded,
    stop,
  };
}

/** A body as Claude Code would send one, as text; `members` stand behind the usual ones. */
export function bodyWith(members: object, model = CHEAP): string {
  return JSON.stringify({
    model,
    max_tokens: 200,
    stream: true,
    messages: [{ role: 'user', content: 'hello #' }],
    ...members,
  });
}

/** The sum over all that somebody was billed. */
export function billedIn(accounts: readonly Account[]): bigint {
  return accounts.reduce((sum, { billed }) => sum + billed, 0n);
}

/** For comparison with what was expected: statuses, and how often. */
export function statuses(accounts: readonly Account[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { got } of accounts) counts[got.status] = (counts[got.status] ?? 0) + 1;
  return counts;
}
