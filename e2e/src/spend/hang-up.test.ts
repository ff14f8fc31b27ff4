import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { costOf, NO_TOKENS, type Bill } from '../attack/cloud-bill.ts';
import type { Conduct } from '../attack/cloud-conduct.ts';
import { markerOf, startCloud, type Cloud } from '../attack/cloud.ts';
import { quietTimeZone, usd } from './caps.ts';
import { Client, type Got } from './client.ts';
import { startFleet, type Fleet, type Replica } from './fleet.ts';
import { LedgerObserver, type RecordRow } from './ledger-observer.ts';
import { CatalogPrices } from './prices.ts';

const MODEL = 'claude-opus-4-8';
/** Somebody waits for the first bytes of an answer, and has the rest for nothing. */
const HANG_UP_AFTER_MS = 250;
/** Long enough for a client to be gone. */
const PAUSE_MS = 600;
const PIECES = 40;
const PIECE_TOKENS = 130;
const CHINESE: Conduct = { language: 'chinese', output: PIECES * PIECE_TOKENS, pieces: PIECES, pieceMs: 10 };
const THINKING: Conduct = {
  hiddenThinking: 3_000,
  output: 3_000 + PIECE_TOKENS,
  pieces: 10,
  pieceMs: PAUSE_MS / 10,
};

type Kind = 'chinese' | 'thinking' | 'silent thinking' | 'late' | 'document' | 'mute' | 'broken';
const CONDUCTS: Readonly<Record<Kind, Conduct>> = {
  chinese: CHINESE,
  thinking: THINKING,
  'silent thinking': { ...THINKING, silent: true },
  late: { ...CHINESE, delayMs: PAUSE_MS },
  document: { ...CHINESE, pieces: 10, pieceMs: PAUSE_MS / 10 },
  // At the first of two upstreams; see below.
  mute: CHINESE,
  broken: { fault: 'break behind the headers' },
};

const prices = new CatalogPrices();
/** Two writes. */
const IN_FLIGHT = prices.cost(MODEL, { ...NO_TOKENS, output: 2 * PIECE_TOKENS });
const client = new Client();
const kinds = new Map<string, Kind>();
let cloud: Cloud;
beforeAll(async () => {
  cloud = await startCloud({
    conductOf(marker, upstream) {
      const kind = kinds.get(marker) ?? 'chinese';
      return kind === 'mute' && upstream === 'a' ? { fault: 'stall' } : CONDUCTS[kind];
    },
  });
}, 60_000);
afterAll(async () => {
  client.close();
  await cloud?.stop();
});

interface Bed {
  readonly fleet: Fleet;
  readonly observer: LedgerObserver;
}

async function startBed(enforcement: object, dollars: string, config: object = {}): Promise<Bed> {
  const upstreams = ['a', 'b'].map((name) => ({
    provider: 'anthropic',
    name,
    base_url: `${cloud.url}/${name}`,
    auth: { api_key: 'sk-ant-upstream-credential' },
  }));
  const fleet = await startFleet({
    replicas: 1,
    upstreamUrl: cloud.url,
    config: { upstreams, enforcement, timeouts: { upstream_ttfb_ms: 3_000 }, ...config },
  });
  const observer = new LedgerObserver(fleet.databaseUrl);
  await observer.install([]);
  await fleet.admin.set({
    scope: { type: 'organization' },
    period: 'daily',
    unit: 'nano_usd',
    amount: usd(dollars),
    timeZone: quietTimeZone(),
  });
  await sleep(3_000);
  return { fleet, observer };
}

/** @returns the body, and the marker of its bills. */
function bodyOf(kind: Kind, members: object = {}): { body: Buffer; marker: string } {
  const marker = `request-${kinds.size}`;
  kinds.set(marker, kind);
  const body = {
    model: MODEL,
    max_tokens: 8_000,
    stream: true,
    messages: [{ role: 'user', content: `${markerOf(marker)} ${'请写一首长诗。'.repeat(20)}` }],
    ...members,
  };
  return { body: Buffer.from(JSON.stringify(body)), marker };
}

/** Asks once, and waits until the gateway and the upstream are done with it. */
async function once(
  { fleet, observer }: Bed,
  kind: Kind,
  members: object = {},
  abortAfterMs?: number,
): Promise<{ got: Got; bills: readonly Bill[]; records: readonly RecordRow[] }> {
  const sub = `${kind}-${Math.random()}`;
  const [replica] = fleet.replicas as readonly [Replica];
  const bearer = fleet.bearer({ sub, groups: [] });
  const options = abortAfterMs === undefined ? {} : { abortAfterMs };
  const { body, marker } = bodyOf(kind, members);
  const got = await client.send(replica.url, bearer, body, options);
  await cloud.idle();
  const bills = cloud.billsOf(marker);
  return { got, bills, records: await recordsOf(observer, sub, bills.length) };
}

/** What somebody is charged, as soon as it is so many records. */
async function recordsOf(
  observer: LedgerObserver,
  sub: string,
  count: number,
): Promise<readonly RecordRow[]> {
  for (;;) {
    const records = (await observer.records()).filter((record) => record.sub === sub);
    if (records.length >= count) return records;
    await sleep(50);
  }
}

function billed(bills: readonly Bill[]): bigint {
  return bills.reduce((sum, bill) => sum + costOf(bill), 0n);
}

function charged(records: readonly RecordRow[]): bigint {
  return records.reduce((sum, { cost }) => sum + cost, 0n);
}

const ADAPTIVE = { thinking: { type: 'adaptive', display: 'omitted' } };
const LIES: readonly [Kind, object][] = [
  ['chinese', {}],
  ['thinking', ADAPTIVE],
  ['thinking', {}],
  ['silent thinking', ADAPTIVE],
  ['late', {}],
  ['document', { stream: false }],
];

describe('whoever hangs up early', () => {
  let bed: Bed;
  beforeAll(async () => {
    bed = await startBed({}, '100.00');
  }, 120_000);
  afterAll(() => bed?.fleet.stop());

  it.each(LIES)('is charged what the upstream bills: %s %j', async (kind, members) => {
    const { got, bills, records } = await once(bed, kind, members, HANG_UP_AFTER_MS);
    expect(got.whole).toBe(false);
    expect(records).toMatchObject([{ outcome: 'complete' }]);
    expect(charged(records)).toBe(billed(bills));
  });

  it('is charged no more than who stays', async () => {
    const { got, bills, records } = await once(bed, 'chinese');
    expect(got).toMatchObject({ status: 200, whole: true });
    expect(charged(records)).toBe(billed(bills));
  });
});

describe('an upstream that had the request', () => {
  let bed: Bed;
  beforeAll(async () => {
    bed = await startBed({}, '100.00');
  }, 120_000);
  afterAll(() => bed?.fleet.stop());

  it('and did not answer in time is charged beside the one that did', async () => {
    const { got, bills, records } = await once(bed, 'mute');
    expect(got).toMatchObject({ status: 200, whole: true });
    expect(bills.map(({ upstream: name }) => name)).toEqual(['a', 'b']);
    expect(records.map(({ outcome }) => outcome).toSorted()).toEqual(['complete', 'partial']);
    expect(new Set(records.map(({ requestId }) => requestId)).size).toBe(1);
    expect(charged(records)).toBeGreaterThanOrEqual(billed(bills));
  });

  it('and broke off before its first byte is charged, and the client told', async () => {
    const { got, bills, records } = await once(bed, 'broken');
    expect(got.status).toBe(502);
    expect(JSON.parse(got.body)).toMatchObject({ type: 'error', error: { type: 'api_error' } });
    expect(bills.map(({ upstream: name }) => name)).toEqual(['a', 'b']);
    expect(charged(records)).toBeGreaterThanOrEqual(billed(bills));
  });
});

describe('where nothing is read on', () => {
  let bed: Bed;
  beforeAll(async () => {
    bed = await startBed({ abandoned_read_ms: 0 }, '1.00');
  }, 120_000);
  afterAll(() => bed?.fleet.stop());

  it('a strict limit is not passed by what the upstream bills, however often somebody hangs up', async () => {
    const before = cloud.bills.length;
    let refused = 0;
    for (let round = 0; refused < 3; round++) {
      expect(round).toBeLessThan(60);
      const [kind, members] = LIES[round % LIES.length] as (typeof LIES)[number];
      const [replica] = bed.fleet.replicas as readonly [Replica];
      const bearer = bed.fleet.bearer({ sub: 'a liar', groups: [] });
      const { body } = bodyOf(kind, { ...members, max_tokens: 3_500 });
      const got = await client.send(replica.url, bearer, body, { abortAfterMs: HANG_UP_AFTER_MS });
      if (got.status === 429) refused++;
      await sleep(50);
    }
    await cloud.idle();
    const bills = cloud.bills.slice(before);
    const records = await recordsOf(bed.observer, 'a liar', bills.length);
    expect(billed(bills)).toBeGreaterThan(usd('0.10'));
    // One after the other: so the records are in the order of the bills.
    const inOrder = records.toSorted((a, b) => a.admittedAt.getTime() - b.admittedAt.getTime());
    for (const [i, bill] of bills.entries()) {
      const cost = inOrder[i]?.cost ?? 0n;
      const kind = kinds.get(bill.marker);
      // What the upstream wrote while the connection was being closed, nobody can know.
      const isCovered = cost >= (bill.costWhenGone ?? costOf(bill)) - IN_FLIGHT;
      expect({ kind, isCovered }).toEqual({ kind, isCovered: true });
    }
    expect(charged(records)).toBeLessThanOrEqual(usd('1.00'));
  }, 120_000);
});

describe('a gateway that stops', () => {
  let bed: Bed;
  beforeAll(async () => {
    bed = await startBed({}, '100.00', {
      timeouts: { upstream_ttfb_ms: 120_000 },
      shutdown: { delay_seconds: 0, grace_seconds: 2 },
    });
  }, 120_000);
  afterAll(() => bed?.fleet.stop());

  it('reads on as long as requests may finish, and charges what it then gives up', async () => {
    const [replica] = bed.fleet.replicas as readonly [Replica];
    const ask = async (kind: Kind): Promise<void> => {
      const bearer = bed.fleet.bearer({ sub: kind, groups: [] });
      await client.send(replica.url, bearer, bodyOf(kind).body, { abortAfterMs: HANG_UP_AFTER_MS });
    };
    await Promise.all([ask('mute'), ask('late')]);
    await replica.stop();
    // One had its count within the time; of the other the input is charged.
    expect(await recordsOf(bed.observer, 'late', 1)).toMatchObject([{ outcome: 'complete' }]);
    expect(await recordsOf(bed.observer, 'mute', 1)).toMatchObject([{ outcome: 'partial', output: 0 }]);
  }, 30_000);
});
