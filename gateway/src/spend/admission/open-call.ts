import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http';
import type { TokenUsage, UsageRecord } from '@claude-gateway/prisma';
import { boundOf, type BodyBound } from '../bound/body-bound.ts';
import { contextWindowOf } from '../bound/context-window.ts';
import { createMeter } from '../meter/meter.ts';
import { NO_USAGE } from '../no-usage.ts';
import { standingHeaders } from '../standing/standing.ts';
import type { AppliedCap, CapSnapshot, Hold, Ledger, MeteredUsage, PriceBook, UsageMeter } from '../types.ts';
import type { AdmissionCall, CallEnd, CallObserver } from './call.ts';
import { estimatedInput } from './estimate.ts';

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

/** One admitted request, on its way: meters the answer and settles, once, whatever happens. */
export class OpenCall implements CallObserver {
  readonly #deps: OpenCallDeps;
  readonly #call: AdmissionCall;
  readonly #ticket: Ticket;
  #meter: UsageMeter | undefined;

  constructor(deps: OpenCallDeps, call: AdmissionCall, ticket: Ticket) {
    this.#deps = deps;
    this.#call = call;
    this.#ticket = ticket;
    deps.ledger.note(ticket.hold, () =>
      this.#record(this.#floor(), 'abandoned', {
        upstream: null,
        status: 0,
        firstByteMs: null,
        durationMs: 0,
      }),
    );
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

  onResponseEnd(end: CallEnd): void {
    switch (end.reached) {
      case 'nowhere':
        // Nothing was used, and nobody answered: the log has it.
        this.#deps.ledger.release(this.#ticket.hold);
        return;
      case 'declined':
        this.#settle(this.#record(NO_USAGE, 'complete', end));
        return;
      case 'unanswered':
        // It may have been worked on: at least its input was read.
        this.#settle(this.#record(this.#floor(), 'partial', end));
        return;
      case 'answered': {
        const usage = this.#meter?.end();
        if (usage instanceof Promise) void usage.then((counted) => this.#answered(counted, end));
        else if (usage !== undefined) this.#answered(usage, end);
      }
    }
  }

  #answered(usage: MeteredUsage, end: CallEnd): void {
    this.#settle(this.#record(this.#billed(usage, end), usage.outcome, end, usage.fastMode));
    if (usage.outcome === 'complete') this.#deps.onComplete(this.#call, usage, this.#ticket.closeToCap);
  }

  /** What is charged: the upstream's counts, and estimates where they are missing. */
  #billed(metered: MeteredUsage, end: CallEnd): TokenUsage {
    const usage = metered.outcome === 'partial' ? this.#limited(metered) : metered;
    if (usage.inputCounted) return usage;
    if (usage.outputTokens > 0 || usage.webSearches > 0) return { ...usage, inputTokens: this.#input() };
    return end.ending === 'client_gone' ? this.#floor() : usage;
  }

  /** Nobody writes more than was asked for, however many characters it is: so no estimate exceeds what was held. */
  #limited(usage: MeteredUsage): MeteredUsage {
    const { request, model } = this.#call;
    const { outputTokens } = this.#ticket.bound ?? boundOf(request, model);
    return usage.outputTokens > outputTokens ? { ...usage, outputTokens } : usage;
  }

  /** The least that the request can have cost: its input, read from a cache. */
  #floor(): TokenUsage {
    return { ...NO_USAGE, cacheReadTokens: this.#input() };
  }

  #input(): number {
    const { request, model } = this.#call;
    return estimatedInput(request, contextWindowOf(request, model));
  }

  #settle(record: UsageRecord): void {
    const { hold, snapshot, at } = this.#ticket;
    const now = this.#deps.caps();
    this.#deps.onCharge(this.#ticket.caps);
    // Caps that came while it was under way count it too; where one pool of several pays, that was decided before.
    const windowIds =
      now === snapshot
        ? undefined
        : now
            .resolve(this.#call.principal, at)
            .filter(({ window }) => window.namedOnly === undefined)
            .map(({ window }) => window.id);
    this.#deps.ledger.settle(hold, record, windowIds);
  }

  #record(
    usage: TokenUsage,
    outcome: UsageRecord['outcome'],
    end: Pick<CallEnd, 'upstream' | 'status' | 'firstByteMs' | 'durationMs'>,
    fastMode = false,
  ): UsageRecord {
    const { principal, context, model, candidates } = this.#call;
    const answered = candidates.find(({ upstream }) => upstream.name === end.upstream) ?? candidates[0];
    const rates =
      answered === undefined
        ? undefined
        : this.#deps.prices.rates(answered.upstream.name, model, answered.model);
    return {
      id: this.#ticket.id,
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
      costNanoUsd: rates?.cost(usage, fastMode) ?? 0n,
      outcome,
      status: end.status,
      admittedAt: new Date(this.#ticket.at),
      firstByteMs: end.firstByteMs === null ? null : Math.round(end.firstByteMs),
      durationMs: Math.round(end.durationMs),
    };
  }
}
