import { randomUUID } from 'node:crypto';
import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http';
import type { TokenUsage, UsageRecord } from '@claude-gateway/prisma';
import { boundOf, type BodyBound } from '../bound/body-bound.ts';
import { createMeter } from '../meter/meter.ts';
import { NO_USAGE } from '../no-usage.ts';
import { standingHeaders } from '../standing/standing.ts';
import type {
  AppliedCap,
  CapSnapshot,
  Hold,
  HoldResult,
  Ledger,
  MeteredUsage,
  PriceBook,
  Rates,
  UsageMeter,
} from '../types.ts';
import { CallPrices } from './call-prices.ts';
import type { AdmissionCall, CallEnd, CallObserver } from './call.ts';
import {
  answeredUsage,
  inputAlone,
  unansweredUsage,
  type ChargedRequest,
  type ChargedUsage,
} from './charge.ts';

/** What an open call needs of those who admitted it. */
export interface OpenCallDeps {
  readonly caps: () => CapSnapshot;
  readonly ledger: Ledger;
  readonly prices: PriceBook;
  /** These caps are about to be charged. */
  readonly onCharge: (caps: readonly AppliedCap[]) => void;
  /** A complete answer was metered. */
  readonly onComplete: (call: AdmissionCall, usage: MeteredUsage, closeToCap: boolean) => void;
}

/** A request's admission. */
export interface Ticket {
  readonly id: string;
  /** When it was admitted, in ms since the epoch. */
  readonly at: number;
  readonly snapshot: CapSnapshot;
  readonly caps: readonly AppliedCap[];
  readonly hold: Hold;
  /** What it was admitted with; undefined where no cap asked for it. */
  readonly bound: BodyBound | undefined;
  /** Whether the next request of the conversation may not fit by its cheap bound. */
  readonly closeToCap: boolean;
}

/** The part of a record that tells how the request ended. */
type Ending = Pick<CallEnd, 'upstream' | 'status' | 'firstByteMs' | 'durationMs'>;

/** What there is to tell of an attempt that nobody saw end. */
const UNSEEN = { status: 0, firstByteMs: null, durationMs: 0 };

/** What a request used, and what that costs. */
interface Charge {
  readonly usage: TokenUsage;
  readonly costNanoUsd: bigint;
  readonly fastMode: boolean;
}

/**
 * One admitted request, on its way: meters the answer and settles, once, whatever happens. An upstream that had the
 * request and gave no answer has a record of its own.
 */
export class OpenCall implements CallObserver {
  readonly #deps: OpenCallDeps;
  readonly #call: AdmissionCall;
  readonly #ticket: Ticket;
  readonly #prices: CallPrices;
  readonly #strict: boolean;
  #hold: Hold;
  #bound: BodyBound | undefined;
  #meter: UsageMeter | undefined;
  #over = false;

  constructor(deps: OpenCallDeps, call: AdmissionCall, ticket: Ticket) {
    this.#deps = deps;
    this.#call = call;
    this.#ticket = ticket;
    this.#strict = ticket.caps.some(({ limit }) => limit.mode === 'strict');
    this.#prices = new CallPrices(deps.prices, call, this.#strict);
    this.#bound = ticket.bound;
    this.#hold = ticket.hold;
    this.#note();
  }

  onResponseStart(_status: number, headers: IncomingHttpHeaders): OutgoingHttpHeaders | undefined {
    const { id, log } = this.#call.context;
    this.#meter = createMeter(headers, {
      onUnreadable: (reason) =>
        log.warn({ request_id: id, reason }, 'cannot read what an answer used: it is billed by an estimate'),
    });
    return standingHeaders(this.#ticket.caps, this.#deps.ledger);
  }

  onResponseBytes(chunk: Buffer): void {
    this.#meter?.bytes(chunk);
  }

  onLost(upstream: string, streamed: boolean): boolean | Promise<boolean> {
    const { ledger } = this.#deps;
    const { needs } = this.#hold;
    const id = randomUUID();
    const decide = (result: HoldResult): boolean => {
      const isHeld = result.state === 'held';
      // Where nothing is held, nothing has to be left.
      if (!isHeld && needs.some(({ amount }) => amount > 0n)) return false;
      const hold = isHeld ? result.hold : ledger.admitUnheld(id, needs);
      if (this.#over) {
        ledger.release(hold);
        return false;
      }
      const usage = unansweredUsage(this.#charged, { streamed, hungUp: false });
      this.#settle(this.#record(this.#charge(usage, upstream), 'partial', { ...UNSEEN, upstream }));
      this.#hold = hold;
      this.#note();
      return true;
    };
    const result = ledger.hold(id, needs);
    return result instanceof Promise ? result.then(decide, () => false) : decide(result);
  }

  onResponseEnd(end: CallEnd): void {
    this.#over = true;
    switch (end.reached) {
      case 'nowhere':
        // Nothing was used, and nobody answered: the log has it.
        this.#deps.ledger.release(this.#hold);
        return;
      case 'declined':
        this.#settle(this.#record({ usage: NO_USAGE, costNanoUsd: 0n, fastMode: false }, 'complete', end));
        return;
      case 'unanswered':
        this.#settle(this.#record(this.#unansweredCharge(end), 'partial', end));
        return;
      case 'answered': {
        const usage = this.#meter?.end();
        if (usage instanceof Promise) void usage.then((counted) => this.#answered(counted, end));
        else if (usage !== undefined) this.#answered(usage, end);
        // The client went before the first byte, and nothing came any more.
        else this.#settle(this.#record(this.#unansweredCharge(end), 'partial', end));
      }
    }
  }

  #answered(metered: MeteredUsage, end: CallEnd): void {
    if (!metered.answered && end.ending !== 'complete') {
      this.#settle(this.#record(this.#unansweredCharge(end), 'partial', end));
      return;
    }
    this.#settle(this.#record(this.#answeredCharge(metered, end.upstream), metered.outcome, end));
    if (metered.outcome === 'complete') {
      this.#deps.onComplete(this.#call, metered, this.#ticket.closeToCap);
    }
  }

  #answeredCharge(metered: MeteredUsage, upstream: string | null): Charge {
    const { bound } = this.#charged;
    const usage = answeredUsage(metered, this.#charged);
    const isEstimated = metered.answered && (metered.outcome === 'partial' || !metered.inputCounted);
    const fastMode = metered.fastMode || (isEstimated && this.#strict && bound.fastMode);
    const us = metered.usInference ?? bound.usInference ?? false;
    const isWhole = metered.outcome === 'complete' && metered.inputCounted;
    const main = this.#prices.at(upstream);
    if (metered.iterations.length === 0) {
      return { usage, costNanoUsd: this.#cost(usage, main, fastMode, us), fastMode };
    }
    // Each sampling at the price of its own model, and never less than what the top level costs.
    const { webSearches } = metered;
    let each = main.cost({ ...NO_USAGE, webSearches }, fastMode, us);
    for (const iteration of metered.iterations)
      each += this.#prices.costOf(iteration, upstream, fastMode, us);
    const top = this.#cost(isWhole ? { ...metered.topLevel, webSearches } : usage, main, fastMode, us);
    return { usage, costNanoUsd: top > each ? top : each, fastMode };
  }

  /** What is charged as it was held costs what was held: it may have been another model. */
  #cost(usage: ChargedUsage, rates: Rates, fastMode: boolean, usInference: boolean): bigint {
    let cost = rates.cost(usage, fastMode, usInference);
    if (usage.asHeld !== true) return cost;
    for (const { window, amount } of this.#hold.needs) {
      if (window.unit === 'nano_usd' && amount > cost) cost = amount;
    }
    return cost;
  }

  #unansweredCharge({ ending, upstream, streamed }: CallEnd): Charge {
    const hungUp = ending === 'client_gone';
    return this.#charge(unansweredUsage(this.#charged, { streamed, hungUp }), upstream);
  }

  #charge(usage: ChargedUsage, upstream: string | null): Charge {
    const { fastMode, usInference = false } = this.#charged.bound;
    const costNanoUsd = this.#cost(usage, this.#prices.at(upstream), fastMode, usInference);
    return { usage, costNanoUsd, fastMode };
  }

  get #charged(): ChargedRequest {
    const { request, model } = this.#call;
    this.#bound ??= boundOf(request, model);
    return { request, bound: this.#bound, strict: this.#strict };
  }

  /** Should this replica die, whoever has the request now is charged its input. */
  #note(): void {
    this.#deps.ledger.note(this.#hold, () =>
      this.#record(this.#charge(inputAlone(this.#charged), null), 'abandoned', { ...UNSEEN, upstream: null }),
    );
  }

  #settle(record: UsageRecord): void {
    const { snapshot, at, caps } = this.#ticket;
    const now = this.#deps.caps();
    this.#deps.onCharge(caps);
    // Caps that came while it was under way count it too; where one pool of several pays, that was decided before.
    const windowIds =
      now === snapshot
        ? undefined
        : now
            .resolve(this.#call.principal, at)
            .filter(({ window }) => window.namedOnly === undefined)
            .map(({ window }) => window.id);
    this.#deps.ledger.settle(this.#hold, record, windowIds);
  }

  #record(
    { usage, costNanoUsd, fastMode }: Charge,
    outcome: UsageRecord['outcome'],
    end: Ending,
  ): UsageRecord {
    const { principal, context, model } = this.#call;
    return {
      id: this.#hold.id,
      requestId: context.id,
      sub: principal.sub,
      kind: principal.kind,
      email: principal.email ?? null,
      name: principal.name ?? null,
      groups: principal.groups,
      model,
      upstream: end.upstream,
      fastMode,
      inputTokens: usage.inputTokens,
      outputTokens: usage.outputTokens,
      cacheReadTokens: usage.cacheReadTokens,
      cacheWrite5mTokens: usage.cacheWrite5mTokens,
      cacheWrite1hTokens: usage.cacheWrite1hTokens,
      webSearches: usage.webSearches,
      costNanoUsd,
      outcome,
      status: end.status,
      admittedAt: new Date(this.#ticket.at),
      firstByteMs: end.firstByteMs === null ? null : Math.round(end.firstByteMs),
      durationMs: Math.round(end.durationMs),
    };
  }
}
