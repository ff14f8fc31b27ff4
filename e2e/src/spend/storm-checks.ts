import { budgetsOf, type Budget } from './caps.ts';
import type { RecordRow } from './ledger-observer.ts';
import type { Testimony } from './metered-upstream.ts';
import { CatalogPrices, countedTokens, dollars, type BilledTokens } from './prices.ts';
import { isLiar } from './storm-liar.ts';
import type { Exchange, Storm } from './storm.ts';

/** Requests that end within this of each other are settled in any order. */
const SETTLED_TOGETHER_MS = 1_000;
/** What clients may be told while everything breaks around them; 0 is a lost connection. */
const EXPECTED_STATUSES = [0, 200, 429, 500, 502, 529];

/** What the records say against what the upstream and the clients saw. Empty when they agree. */
export function recordFindings(
  storm: Pick<Storm, 'upstream' | 'exchanges'>,
  all: readonly RecordRow[],
): string[] {
  const records = all.filter(({ sub }) => !isLiar(sub));
  const findings: string[] = [];
  const prices = new CatalogPrices();
  const byRequestId = new Map<string, RecordRow>();
  for (const record of records) {
    const other = byRequestId.get(record.requestId);
    if (other !== undefined && !isLost(other) && !isLost(record)) {
      findings.push(`${record.requestId}: recorded twice`);
    }
    // An attempt that an upstream did not answer has a record of its own, beside that of the answer.
    if (other === undefined || isLost(other)) byRequestId.set(record.requestId, record);
  }
  const testimonies = lastTestimonies(storm.upstream.testimonies);
  const mayBeForgotten = forgettable(storm.exchanges, byRequestId);
  const nameless = storm.exchanges.filter(({ got }) => got.requestId === undefined).length;
  const matched = new Set<string>();

  for (const exchange of storm.exchanges) {
    const { ask, developer, got } = exchange;
    const name = `request ${ask.index} (${got.requestId ?? 'no id'}, status ${got.status})`;
    if (!EXPECTED_STATUSES.includes(got.status)) findings.push(`${name}: ${got.body.slice(0, 300)}`);
    if (got.requestId === undefined) continue;
    const record = byRequestId.get(got.requestId);
    if (record !== undefined) matched.add(got.requestId);
    if (got.status !== 200) {
      const end = testimonies.get(ask.index)?.end;
      // An upstream that had the request and broke off may bill its input.
      const mayCost = got.status === 502 && record !== undefined && isLost(record) && end !== 'refused';
      if (record !== undefined && record.cost !== 0n && !mayCost && !mayBeForgotten(exchange)) {
        findings.push(`${name}: charged ${record.cost} for an answer that was none`);
      }
      continue;
    }
    if (record === undefined) {
      if (!mayBeForgotten(exchange)) findings.push(`${name}: not on record`);
      continue;
    }
    const testimony = testimonies.get(ask.index);
    if (testimony === undefined) {
      findings.push(`${name}: on record, but the upstream knows nothing of it`);
      continue;
    }
    if (record.sub !== developer.sub) findings.push(`${name}: charged to ${record.sub}`);
    if (record.outcome !== 'abandoned' && record.cost !== prices.cost(testimony.model, record)) {
      findings.push(`${name}: costs ${record.cost}, by the catalog ${prices.cost(testimony.model, record)}`);
    }
    if (record.outcome === 'complete') {
      if (!isSame(record, testimony.planned)) {
        findings.push(`${name}: recorded ${tell(record)}, the upstream says ${tell(testimony.planned)}`);
      }
    } else if (got.whole) {
      // An answer that came whole to its client cannot have broken off, unless its gateway died with the record.
      if (!mayBeForgotten(exchange) && testimony.end === 'complete') {
        findings.push(`${name}: came whole, but is recorded as ${record.outcome}`);
      }
    } else if (record.outcome === 'partial') {
      findings.push(...partialFindings(name, record, testimony, got.body));
    }
  }
  const unmatched = records.length - matched.size;
  if (unmatched > nameless) {
    findings.push(`${unmatched} records of requests whose id no client got, but only ${nameless} got none`);
  }
  return findings;
}

/** Of an attempt that brought no answer. */
function isLost({ outcome, status, output, webSearches }: RecordRow): boolean {
  return outcome === 'partial' && (status !== 200 || (output === 0 && webSearches === 0));
}

/** A broken answer is charged its input, and at least as much output as was sent: under strict caps the most it can be. */
function partialFindings(name: string, record: RecordRow, testimony: Testimony, body: string): string[] {
  const { planned } = testimony;
  const seen = body.split('word').length - 1;
  const begun = record.input + record.cacheRead + record.cacheWrite5m + record.cacheWrite1h > 0;
  const findings: string[] = [];
  if (begun && !isSame({ ...record, output: 0, webSearches: 0 }, { ...planned, output: 0, webSearches: 0 })) {
    findings.push(`${name}: input recorded as ${tell(record)}, the upstream says ${tell(planned)}`);
  }
  if (!begun && body.includes('message_start')) {
    findings.push(`${name}: its client saw the beginning, but no input is on record`);
  }
  if (record.output > testimony.maxTokens) {
    findings.push(`${name}: ${record.output} tokens of output on record, of ${testimony.maxTokens} at most`);
  }
  if (testimony.streamed && record.output < seen - 1) {
    findings.push(`${name}: ${record.output} tokens of output on record, its client saw ${seen}`);
  }
  return findings;
}

/**
 * Which requests may be missing from the records: those that their gateway had not settled when it was killed. It
 * settles in the order in which requests end, so they are the last ones of that life of the gateway.
 */
function forgettable(
  exchanges: readonly Exchange[],
  records: ReadonlyMap<string, RecordRow>,
): (exchange: Exchange) => boolean {
  const lifeOf = ({ replica, got }: Exchange): string | undefined => {
    const killedAt = replica.killedAt.find((at) => at >= got.askedAt);
    return killedAt === undefined ? undefined : `${replica.url} ${killedAt}`;
  };
  const lastSettled = new Map<string, number>();
  for (const exchange of exchanges) {
    const life = lifeOf(exchange);
    const { requestId = '', endedAt, whole } = exchange.got;
    if (life === undefined || !whole || records.get(requestId)?.outcome !== 'complete') continue;
    lastSettled.set(life, Math.max(endedAt, lastSettled.get(life) ?? 0));
  }
  return (exchange) => {
    const life = lifeOf(exchange);
    if (life === undefined) return false;
    return exchange.got.endedAt > (lastSettled.get(life) ?? 0) - SETTLED_TOGETHER_MS;
  };
}

/**
 * Budgets that the upstream has charged more than their caps for, in whole answers that reached their clients. The
 * upstream alone is asked, so it judges any gateway.
 *
 * @param records To know which requests a gateway took with it when it was killed.
 */
export function overspending(storm: Storm, records: readonly RecordRow[] = []): string[] {
  const spent = witnessedSpending(storm, records);
  return [...spent.values()].flatMap(({ budget, amount }) =>
    amount > budget.amount
      ? [
          `${budget.subjectKind} ${budget.subject} ${budget.period}: ` +
            (budget.unit === 'nano_usd'
              ? `${dollars(amount)} of ${dollars(budget.amount)}`
              : `${amount} of ${budget.amount} tokens`),
        ]
      : [],
  );
}

function witnessedSpending(
  storm: Storm,
  records: readonly RecordRow[],
): Map<string, { budget: Budget; amount: bigint }> {
  const prices = new CatalogPrices();
  const testimonies = lastTestimonies(storm.upstream.testimonies);
  const mayBeForgotten = forgettable(storm.exchanges, new Map(records.map((row) => [row.requestId, row])));
  const spent = new Map<string, { budget: Budget; amount: bigint }>();
  for (const exchange of storm.exchanges) {
    const { ask, developer, got } = exchange;
    const testimony = testimonies.get(ask.index);
    if (got.status !== 200 || !got.whole || testimony?.end !== 'complete') continue;
    if (mayBeForgotten(exchange)) continue;
    for (const budget of budgetsOf(developer, storm.plan.caps)) {
      const key = `${budget.subjectKind} ${budget.subject} ${budget.unit} ${budget.period}`;
      const sum = spent.get(key) ?? { budget, amount: 0n };
      sum.amount += amountFor(budget, testimony.model, testimony.planned, prices);
      spent.set(key, sum);
    }
  }
  return spent;
}

export function amountFor(
  budget: Pick<Budget, 'unit'>,
  model: string,
  tokens: BilledTokens,
  prices: CatalogPrices,
): bigint {
  return budget.unit === 'nano_usd' ? prices.cost(model, tokens) : BigInt(countedTokens(tokens));
}

/** How the requests went, by what their clients got. */
export function outcomes(storm: Pick<Storm, 'exchanges'>): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { got } of storm.exchanges) {
    const key = got.status === 200 && !got.whole ? '200, broken off' : String(got.status);
    counts[key] = (counts[key] ?? 0) + 1;
  }
  return counts;
}

function lastTestimonies(testimonies: readonly Testimony[]): Map<number, Testimony> {
  return new Map(testimonies.map((testimony) => [testimony.index, testimony]));
}

function isSame(a: BilledTokens, b: BilledTokens): boolean {
  return (
    a.input === b.input &&
    a.output === b.output &&
    a.cacheRead === b.cacheRead &&
    a.cacheWrite5m === b.cacheWrite5m &&
    a.cacheWrite1h === b.cacheWrite1h &&
    a.webSearches === b.webSearches
  );
}

function tell(tokens: BilledTokens): string {
  const { input, output, cacheRead, cacheWrite5m, cacheWrite1h, webSearches } = tokens;
  return JSON.stringify({ input, output, cacheRead, cacheWrite5m, cacheWrite1h, webSearches });
}
