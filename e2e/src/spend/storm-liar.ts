import { dueFor } from '../attack/cloud-bill.ts';
import type { Conduct } from '../attack/cloud-conduct.ts';
import { startCloud, markerOf, type Cloud } from '../attack/cloud.ts';
import { hostileRequest } from '../attack/hostile-requests.ts';
import { quietTimeZone, usd, type Cap, type Developer } from './caps.ts';
import type { Client, Got } from './client.ts';
import type { Replica } from './fleet.ts';
import type { RecordRow } from './ledger-observer.ts';
import { dollars } from './prices.ts';
import type { Random } from './random.ts';

/** Who wants more than their cap allows, and how much that is. */
const LIARS: Readonly<Record<string, string>> = { 'liar-0': '10.00', 'liar-1': '2.00', 'liar-2': '0.20' };

export const LIAR_DEVELOPERS: readonly Developer[] = Object.keys(LIARS).map((sub) => ({ sub, groups: [] }));

export function isLiar(sub: string): boolean {
  return sub in LIARS;
}

/** Strict, and not open while PostgreSQL is away. */
export function liarCaps(): Cap[] {
  return Object.entries(LIARS).map(([user, amount]) => ({
    scope: { type: 'user', user },
    period: 'daily',
    unit: 'nano_usd',
    amount: usd(amount),
    timeZone: quietTimeZone(),
    failurePolicy: 'closed',
  }));
}

/** What a liar asks, with `#` where the marker of its bill goes. */
interface Lie {
  readonly text: string;
  readonly conduct: Conduct;
  readonly abortAfterMs?: number;
}

/** One lie, from its liar's side. */
export interface LieExchange {
  readonly sub: string;
  readonly marker: string;
  readonly replica: Replica;
  readonly got: Got;
}

const DEAR = 'claude-opus-4-8';
const SEARCH = { type: 'web_search_20250305', name: 'web_search' };
const ADVISOR = { type: 'advisor_20260301', name: 'advisor', model: DEAR };

/** Each has something by which an answer might cost its liar less than the upstream bills. */
function lieOf(random: Random): Lie {
  const slow = { pieces: 10, pieceMs: random.int(5, 40) };
  const abort = { abortAfterMs: random.int(5, 250) };
  const max_tokens = random.skewed(200, 4_000);
  const output = random.int(1, max_tokens);
  const model = random.pick(['claude-haiku-4-5', 'claude-sonnet-4-6', DEAR]);
  const body = (members: object): string =>
    JSON.stringify({
      model,
      max_tokens,
      stream: true,
      messages: [{ role: 'user', content: '# hello' }],
      ...members,
    });
  switch (random.int(0, 8)) {
    case 0:
      return { text: body({}), conduct: { output, language: 'chinese', ...slow }, ...abort };
    case 1:
      return {
        text: body({ thinking: { type: 'adaptive', display: 'omitted' } }),
        conduct: { output, hiddenThinking: output, ...slow },
        ...abort,
      };
    case 2:
      return { text: body({ stream: false }), conduct: { output, ...slow }, ...abort };
    case 3:
      return { text: body({}), conduct: { output, delayMs: 400 }, ...abort };
    case 4:
      return {
        text: body({ tools: [{ ...SEARCH, max_uses: 1e15 }] }),
        conduct: { output, searches: random.int(1, 10), ...slow },
      };
    case 5:
      return {
        text: body({ tools: [{ ...SEARCH, max_uses: 1 }] }).replace(
          '"max_uses":1',
          '"max_uses":1,"max_uses":9',
        ),
        conduct: { output, searches: 9 },
      };
    case 6:
      return {
        text: body({
          tools: [random.chance(0.5) ? { ...ADVISOR, max_uses: 2 } : { ...SEARCH, max_uses: 1 }],
        }),
        conduct: { output, searches: 1, consultations: 2, fault: 'break before the first byte' },
      };
    case 7:
      return { text: body({ stream: false }), conduct: { output, fault: 'break before the first byte' } };
    default:
      return hostileRequest(random);
  }
}

/** The liars of a storm, and a cloud that keeps its bill of them. */
export interface Liars {
  readonly cloud: Cloud;
  readonly exchanges: readonly LieExchange[];
  /** One after the other, as long as `isOver` says no. */
  lie(
    client: Client,
    bearers: ReadonlyMap<string, string>,
    pick: () => Replica,
    isOver: () => boolean,
  ): Promise<void>;
}

export async function startLiars(random: Random): Promise<Liars> {
  const conducts = new Map<string, Conduct>();
  const exchanges: LieExchange[] = [];
  const cloud = await startCloud({ conductOf: (marker) => conducts.get(marker) ?? {} });
  let last = 0;
  return {
    cloud,
    exchanges,
    async lie(client, bearers, pick, isOver) {
      while (!isOver()) {
        const { text, conduct, abortAfterMs } = lieOf(random);
        const { sub } = random.pick(LIAR_DEVELOPERS);
        const marker = `lie-${last++}`;
        conducts.set(marker, conduct);
        const body = Buffer.from(text.replaceAll('#', () => markerOf(marker)));
        const replica = pick();
        const options = abortAfterMs === undefined ? {} : { abortAfterMs };
        const got = await client.send(replica.url, bearers.get(sub) ?? '', body, options);
        exchanges.push({ sub, marker, replica, got });
      }
    },
  };
}

/**
 * How long before a replica was killed a request may have ended that it had not settled: while PostgreSQL is away, or
 * the answer is read on behind its client's back. The docs leave out those of its last six seconds, and output.
 */
const FORGOTTEN_BEFORE_MS = 10_000;

/** Where liars paid less than the cloud bills, or passed their caps by its bill. Empty when all is well. */
export function liarFindings({ cloud, exchanges }: Liars, records: readonly RecordRow[]): string[] {
  const findings: string[] = [];
  const charges = new Map<string, bigint>();
  const spent = new Map<string, bigint>();
  for (const { sub, requestId, cost } of records) {
    charges.set(requestId, (charges.get(requestId) ?? 0n) + cost);
    spent.set(sub, (spent.get(sub) ?? 0n) + cost);
  }
  const billed = new Map<string, bigint>();
  for (const { sub, marker, replica, got } of exchanges) {
    const diedWith = replica.killedAt.some(
      (at) => at >= got.askedAt && at - got.endedAt < FORGOTTEN_BEFORE_MS,
    );
    if (diedWith) continue;
    const hasAnswer = got.status === 200 || got.status === 0;
    const due = cloud.billsOf(marker).reduce((sum, bill) => sum + dueFor(bill, hasAnswer), 0n);
    billed.set(sub, (billed.get(sub) ?? 0n) + due);
    if (got.requestId === undefined) continue;
    const charge = charges.get(got.requestId) ?? 0n;
    if (charge < due) findings.push(`${sub}, ${marker} (${got.status}): billed ${due}, charged ${charge}`);
  }
  for (const [sub, cap] of Object.entries(LIARS)) {
    const bill = billed.get(sub) ?? 0n;
    const charge = spent.get(sub) ?? 0n;
    if (charge < bill) findings.push(`${sub}: billed ${dollars(bill)}, charged ${dollars(charge)}`);
    for (const sum of [bill, charge]) {
      if (sum > usd(cap)) findings.push(`${sub}: ${dollars(sum)} of ${cap}`);
    }
  }
  return findings;
}

/** How often a liar was answered what, and what that was billed, in words. */
export function liarOutcomes({ cloud, exchanges }: Liars): string {
  const counts: Record<string, number> = {};
  for (const { got } of exchanges) counts[got.status] = (counts[got.status] ?? 0) + 1;
  return `${exchanges.length} lies: ${JSON.stringify(counts)}, ${cloud.bills.length} bills`;
}
