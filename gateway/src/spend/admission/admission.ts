import { randomUUID } from 'node:crypto';
import type { EnforcementConfig } from '@claude-gateway/contract';
import { ApiError } from '../../http/errors.ts';
import type { Audit } from '../../observe/audit.ts';
import type { Principal } from '../../principal.ts';
import { boundOf, withPromptTokens, type BodyBound } from '../bound/body-bound.ts';
import {
  conversationOf,
  createConversationMemory,
  type ConversationMemory,
} from '../bound/conversation-memory.ts';
import { countedBound } from '../bound/counted-bound.ts';
import { ratesOfCall } from '../prices/rates-of-call.ts';
import { decisiveOf, limitBusy, limitReached, limitsUnavailable, type Blocked } from '../standing/refusal.ts';
import { wholeCents } from '../standing/wording.ts';
import type {
  AppliedCap,
  CapSnapshot,
  Hold,
  HoldResult,
  Ledger,
  PriceBook,
  Shortage,
  WindowNeed,
} from '../types.ts';
import type { AdmissionCall, Admitted } from './call.ts';
import { needOf, needsOf, withoutPrompt, type Estimate } from './estimate.ts';
import {
  canShrink,
  isTooLarge,
  leastOutcome,
  lowerDemand,
  type Demand,
  type ShortCap,
} from './lower-demand.ts';
import { OpenCall, type OpenCallDeps } from './open-call.ts';
import { OutputForecast } from './output-forecast.ts';

/** What admission has learned from the answers that passed this replica. Outlives configurations. */
export interface Learned {
  readonly conversations: ConversationMemory;
  readonly outputs: OutputForecast;
}

export function createLearned(): Learned {
  return { conversations: createConversationMemory(), outputs: new OutputForecast() };
}

export interface SpendDeps<C extends AdmissionCall> {
  /** The limits in force. */
  readonly caps: () => CapSnapshot;
  /** Whether others may be in force by now: PostgreSQL could not be asked for some seconds. */
  readonly areCapsOutdated: () => boolean;
  readonly ledger: Ledger;
  readonly prices: PriceBook;
  /** Asks an upstream how many tokens the input of a request has; undefined when it does not say. Never rejects. */
  readonly countTokens: (call: C) => Promise<number | undefined>;
  readonly learned: Learned;
  /** Told of everybody who asks. */
  readonly seen: (principal: Principal) => void;
  /** These caps are about to be charged. */
  readonly onCharge: (caps: readonly AppliedCap[]) => void;
  /** Somebody was refused for what is left of this cap. @param spent In the cap's unit. */
  readonly onBlocked: (cap: AppliedCap, spent: bigint) => void;
  readonly audit: Audit;
  /** ms since the epoch. */
  readonly clock: () => number;
  readonly enforcement: Pick<EnforcementConfig, 'fail_closed_on_error' | 'max_wait_ms' | 'min_output_tokens'>;
  /** admin.blocked_message: what a blocked developer should do. */
  readonly blockedMessage: string | undefined;
}

/** Admission of inference requests under caps. */
export interface Spend<C extends AdmissionCall> {
  /**
   * Holds what a request may cost in every cap that applies, before any upstream sees it. What is admitted settles
   * itself when its observer is told the end.
   *
   * @returns a promise only when PostgreSQL or an upstream had to be asked.
   * @throws ApiError 429 when a cap does not let it through, or cannot be read and then fails closed.
   */
  admit(call: C): Admitted | Promise<Admitted>;
}

export function createSpend<C extends AdmissionCall>(deps: SpendDeps<C>): Spend<C> {
  const open: OpenCallDeps = {
    caps: deps.caps,
    ledger: deps.ledger,
    prices: deps.prices,
    onCharge: deps.onCharge,
    onComplete({ request, principal, model }, usage, closeToCap) {
      const conversation = closeToCap ? conversationOf(principal.sub, request.headers, model) : undefined;
      deps.learned.outputs.observe(model, usage.outputTokens, conversation);
      if (conversation === undefined) return;
      const { inputTokens, cacheReadTokens, cacheWrite5mTokens, cacheWrite1hTokens } = usage;
      deps.learned.conversations.remember(
        conversation,
        request,
        inputTokens + cacheReadTokens + cacheWrite5mTokens + cacheWrite1hTokens,
      );
    },
  };
  return {
    admit(call) {
      deps.seen(call.principal);
      return new Admission(deps, open, call).start();
    },
  };
}

/** How often a request that was made smaller is tried again at once, because others took what was left meanwhile. */
const MOST_SHRINKS = 3;
/** How often something smaller is tried because what it waited for was spent meanwhile, by one settlement after the other. */
const MOST_OUTSPENT = 32;
/** A conversation is remembered while its cap has room for fewer requests like its last. */
const CLOSE_REQUESTS = 8n;

/**
 * The admission of one request. Each step makes its worst case smaller, as long as it does not fit; then it waits for
 * what other requests in flight hold. Refused for good is only what could not fit either if nothing were held.
 */
class Admission<C extends AdmissionCall> {
  readonly #deps: SpendDeps<C>;
  readonly #open: OpenCallDeps;
  readonly #call: C;
  readonly #id = randomUUID();
  readonly #at: number;
  #snapshot: CapSnapshot;
  #caps: readonly AppliedCap[];
  /** The best that is known of it as it came. */
  #estimate: Estimate | undefined;
  /** What is asked for: that, or what it was lowered to. */
  #demand: Demand | undefined;
  #remembered = false;
  #counted = false;
  #shrinks = 0;
  #outspent = 0;
  /** Until when it may wait, by the clock that timers go by, in ms. */
  #patientUntil: number | undefined;
  #closeToCap = false;

  constructor(deps: SpendDeps<C>, open: OpenCallDeps, call: C) {
    this.#deps = deps;
    this.#open = open;
    this.#call = call;
    this.#at = deps.clock();
    this.#snapshot = deps.caps();
    this.#caps = this.#snapshot.resolve(call.principal, this.#at);
  }

  start(): Admitted | Promise<Admitted> {
    if (this.#caps.length === 0) return this.#decide(this.#deps.ledger.hold(this.#id, []));
    // What it holds may be lent all the same, but by limits that somebody may have lowered long ago.
    if (this.#deps.areCapsOutdated()) this.#refuseWhereClosed();
    let usedUp = this.#caps.filter((cap) => this.#isUsedUp(cap));
    while (this.#askNextPools(usedUp)) usedUp = this.#caps.filter((cap) => this.#isUsedUp(cap));
    if (usedUp.length > 0) throw this.#refusal(usedUp.map((cap) => this.#blocked(cap, undefined)));
    return this.#hold(this.#estimate ?? this.#firstEstimate());
  }

  #hold(estimate: Estimate): Admitted | Promise<Admitted> {
    this.#estimate = estimate;
    return this.#try({ estimate, body: undefined });
  }

  #try(demand: Demand): Admitted | Promise<Admitted> {
    this.#demand = demand;
    return this.#decide(this.#deps.ledger.hold(this.#id, needsOf(this.#caps, demand.estimate)));
  }

  #decide(result: HoldResult | Promise<HoldResult>): Admitted | Promise<Admitted> {
    if (result instanceof Promise) return result.then((known) => this.#decide(known));
    switch (result.state) {
      case 'held':
        return this.#admitted(result.hold);
      case 'unavailable':
        return this.#unavailable();
      case 'failed':
        throw this.#failed();
      case 'short':
        return this.#improve(result.shortages);
    }
  }

  /** Known to have nothing left, without asking. */
  #isUsedUp({ amount, window }: AppliedCap): boolean {
    if (amount === 0n) return true;
    const state = this.#deps.ledger.peek(window.id);
    return state !== undefined && state.spent >= amount;
  }

  #firstEstimate(): Estimate {
    const { request, model } = this.#call;
    const { prices, learned } = this.#deps;
    const bound = boundOf(request, model);
    return {
      bound,
      rates: ratesOfCall(this.#call, prices),
      expectedOutput: bound.answers * learned.outputs.expect(model),
    };
  }

  #improve(shortages: readonly Shortage[]): Admitted | Promise<Admitted> {
    const estimate = this.#estimate;
    if (estimate === undefined) throw limitsUnavailable();
    const short = this.#shortOf(shortages, estimate);
    const least = this.#leastOutcome(estimate, this.#floorOf(short));
    const promptless = { ...least, bound: withoutPrompt(least.bound) };
    const usedUp = short.filter((one) => isTooLarge(one, promptless));
    if (usedUp.length > 0) {
      if (this.#askNextPools(short.map(({ cap }) => cap))) return this.#hold(estimate);
      throw this.#refusal(usedUp.map(({ cap, shortage }) => this.#blocked(cap, shortage)));
    }
    this.#closeToCap = true;
    if (!this.#remembered) {
      this.#remembered = true;
      const better = this.#recall(estimate.bound);
      if (better !== estimate.bound) return this.#hold({ ...estimate, bound: better });
    }
    if (!this.#counted) {
      this.#counted = true;
      return this.#deps.countTokens(this.#call).then((count) => {
        const better =
          count === undefined ? estimate.bound : countedBound(estimate.bound, this.#call.request, count);
        return better === estimate.bound
          ? this.#lower(estimate, short)
          : this.#hold({ ...estimate, bound: better });
      });
    }
    return this.#lower(estimate, short);
  }

  /** Nothing better can be known of the request: what it may use is lowered, or what others hold is waited for. */
  #lower(estimate: Estimate, short: readonly ShortCap[]): Admitted | Promise<Admitted> {
    if (this.#askNextPools(short.map(({ cap }) => cap))) return this.#hold(estimate);
    const floor = this.#floorOf(short);
    const least = this.#leastOutcome(estimate, floor);
    const usedUp = short.filter((one) => isTooLarge(one, least));
    if (usedUp.length > 0)
      throw this.#refusal(usedUp.map(({ cap, shortage }) => this.#blocked(cap, shortage)));

    if (!canShrink(short)) return this.#wait([{ estimate, body: undefined }], short);
    const { request, model } = this.#call;
    const useful = this.#deps.learned.outputs.useful(model, this.#conversation());
    const lowered = lowerDemand({ request, model, estimate, short, floor, useful });
    if (lowered === 'impossible') {
      throw this.#refusal(short.map(({ cap, shortage }) => this.#blocked(cap, shortage)));
    }
    if (lowered.now !== undefined && this.#shrinks++ < MOST_SHRINKS) return this.#try(lowered.now);
    return this.#wait(lowered.choices, short);
  }

  async #wait(demands: readonly [Demand, ...Demand[]], short: readonly ShortCap[]): Promise<Admitted> {
    const now = performance.now();
    this.#patientUntil ??= now + this.#deps.enforcement.max_wait_ms;
    const [first, ...others] = demands;
    const needs = ({ estimate }: Demand): readonly WindowNeed[] => needsOf(this.#caps, estimate);
    const result = await this.#deps.ledger.wait(this.#id, [needs(first), ...others.map(needs)], {
      forMs: this.#patientUntil - now,
      person: this.#call.principal.sub,
      isCurrent: () => this.#deps.caps() === this.#snapshot,
      onGone: (listener) => this.#call.onGone(listener),
    });
    switch (result.state) {
      case 'held':
        this.#demand = demands[result.choice];
        return this.#admitted(result.hold);
      case 'changed':
        this.#snapshot = this.#deps.caps();
        this.#caps = this.#snapshot.resolve(this.#call.principal, this.#at);
        return this.start();
      case 'busy':
        throw this.#busy(
          short.map(({ cap }) => cap),
          result.shortages,
        );
      case 'short':
        return this.#nothingToWaitFor(result.shortages);
      case 'unavailable':
      case 'failed':
        return this.#decide(result);
    }
  }

  /** No settlement of anybody makes room for what was waited for. It may have been spent meanwhile, so smaller demands are tried. */
  #nothingToWaitFor(shortages: readonly Shortage[]): Admitted | Promise<Admitted> {
    if (this.#outspent++ < MOST_OUTSPENT) return this.#improve(shortages);
    throw this.#refusal(
      this.#caps.flatMap((cap) => {
        const shortage = shortages.find(({ window }) => window.id === cap.window.id);
        return shortage === undefined ? [] : [this.#blocked(cap, shortage)];
      }),
    );
  }

  #leastOutcome(estimate: Estimate, floor: number): Estimate {
    const { request, model } = this.#call;
    return leastOutcome({ request, model, estimate }, floor);
  }

  /** The caps in which it does not fit. One that has room is none of them, whatever the ledger could not give. */
  #shortOf(shortages: readonly Shortage[], estimate: Estimate): readonly ShortCap[] {
    const short: ShortCap[] = [];
    for (const cap of this.#caps) {
      const shortage = shortages.find(({ window }) => window.id === cap.window.id);
      if (shortage === undefined) continue;
      const isShort =
        cap.limit.mode === 'postpaid'
          ? shortage.spent >= cap.amount
          : needOf(cap, estimate) > shortage.available;
      if (isShort) short.push({ cap, shortage });
    }
    return short;
  }

  #floorOf(short: readonly ShortCap[]): number {
    return canShrink(short) ? this.#deps.enforcement.min_output_tokens : Infinity;
  }

  /**
   * Where one pool of several pays, the next one pays instead of those that have no room.
   *
   * @returns false when one of them has no next.
   */
  #askNextPools(caps: readonly AppliedCap[]): boolean {
    if (caps.length === 0 || caps.some(({ otherwise }) => otherwise === undefined)) return false;
    const without = new Set(caps);
    this.#caps = this.#caps.map((cap) => (without.has(cap) ? (cap.otherwise ?? cap) : cap));
    return true;
  }

  #conversation(): string | undefined {
    const { principal, request, model } = this.#call;
    return conversationOf(principal.sub, request.headers, model);
  }

  #recall(bound: BodyBound): BodyBound {
    const conversation = this.#conversation();
    if (conversation === undefined) return bound;
    const tokens = this.#deps.learned.conversations.promptTokens(conversation, this.#call.request);
    return tokens === undefined ? bound : withPromptTokens(bound, tokens);
  }

  #admitted(hold: Hold): Admitted {
    const call = this.#call;
    const observer = new OpenCall(this.#open, call, {
      id: this.#id,
      at: this.#at,
      snapshot: this.#snapshot,
      caps: this.#caps,
      hold,
      bound: this.#demand?.estimate.bound,
      closeToCap: this.#closeToCap || this.#isClose(hold),
    });
    const body = this.#demand?.body;
    return body === undefined ? { observer } : { observer, body };
  }

  /** Whether what is left of a cap may soon be too little for the cheap bound. */
  #isClose({ needs }: Hold): boolean {
    for (const { window, cap, amount } of needs) {
      const state = this.#deps.ledger.peek(window.id);
      if (state !== undefined && cap - state.spent < CLOSE_REQUESTS * amount) return true;
    }
    return false;
  }

  /** PostgreSQL is there and cannot do it, so that no policy says to serve without it. */
  #failed(): ApiError {
    const { context } = this.#call;
    return new ApiError(
      'api_error',
      `The gateway could not hold what this request may cost. Nothing was charged. Tell your administrator: its log says why (${context.id}).`,
    );
  }

  /** @throws ApiError when one of the caps fails closed. */
  #refuseWhereClosed(): void {
    const byDefault = this.#deps.enforcement.fail_closed_on_error ? 'closed' : 'open';
    const closed = this.#caps.find(({ limit }) => (limit.failurePolicy ?? byDefault) === 'closed');
    if (closed === undefined) return;
    this.#auditBlocked('store_unavailable', closed, {});
    throw limitsUnavailable();
  }

  #unavailable(): Admitted {
    const estimate = this.#demand?.estimate;
    const { ledger } = this.#deps;
    this.#refuseWhereClosed();
    const { context, principal } = this.#call;
    context.log.warn(
      { request_id: context.id, sub: principal.sub },
      'cannot read budgets: the request is served without holding what it may cost',
    );
    return this.#admitted(
      ledger.admitUnheld(this.#id, estimate === undefined ? [] : needsOf(this.#caps, estimate)),
    );
  }

  /** What is told of a cap in which the request would not fit either if nobody held anything. */
  #blocked(cap: AppliedCap, shortage: Shortage | undefined): Blocked {
    const spent = shortage?.spent ?? this.#deps.ledger.peek(cap.window.id)?.spent ?? 0n;
    const left = spent < cap.amount ? cap.amount - spent : 0n;
    return { cap, spent, available: left, need: this.#leastNeed(cap, left) };
  }

  /** What the request may take at most, with its output lowered as far as that is allowed. */
  #leastNeed(cap: AppliedCap, available: bigint): bigint {
    const estimate = this.#estimate;
    if (estimate === undefined) return 0n;
    const whole = needOf(cap, estimate);
    if (cap.limit.whenShort !== 'shrink_output') return whole;
    const { min_output_tokens: floor } = this.#deps.enforcement;
    const lowered = needOf(cap, this.#leastOutcome(estimate, floor));
    return lowered > available ? lowered : whole;
  }

  #refusal(blocked: readonly Blocked[]): ApiError {
    const [first, ...others] = blocked;
    // Every shortage is of a window that was asked for.
    if (first === undefined) return limitsUnavailable();
    const decisive = decisiveOf([first, ...others]);
    const { cap } = decisive;
    for (const { cap: blocking, spent } of blocked) this.#deps.onBlocked(blocking, spent);
    this.#auditBlocked('over_limit', cap, {
      ...auditedWindow(decisive),
      blocked_by: blocked.map(({ cap: { limit } }) => limit.id),
    });
    return limitReached(decisive, this.#at, this.#deps.blockedMessage);
  }

  /** It would fit if other requests were settled, and has waited for that as long as it may. */
  #busy(short: readonly AppliedCap[], shortages: readonly Shortage[]): ApiError {
    const blocked = short.map((cap): Blocked => {
      const shortage = shortages.find(({ window }) => window.id === cap.window.id);
      return { ...this.#blocked(cap, shortage), available: shortage?.available ?? 0n };
    });
    const [first, ...others] = blocked;
    if (first === undefined) return limitBusy(undefined);
    const decisive = decisiveOf([first, ...others]);
    this.#auditBlocked('held', decisive.cap, {
      ...auditedWindow(decisive),
      blocked_by: blocked.map(({ cap: { limit } }) => limit.id),
    });
    return limitBusy(decisive);
  }

  #auditBlocked(cause: string, cap: AppliedCap, details: Record<string, unknown>): void {
    const { context, principal, model } = this.#call;
    this.#deps.audit('spend.blocked', {
      request_id: context.id,
      sub: principal.sub,
      email: principal.email ?? null,
      client_ip: context.clientAddress,
      model,
      cause,
      ...auditedCap(cap),
      ...details,
    });
  }
}

function auditedWindow({ cap: { window }, spent, need, available }: Blocked): Record<string, unknown> {
  return {
    window_id: window.id,
    resets_at: window.endsAt.toISOString(),
    spent: String(spent),
    need: String(need),
    available: String(available),
  };
}

/** Amounts are texts in the unit of the cap: JSON numbers would not hold them. */
function auditedCap({ limit, amount, subject, source }: AppliedCap): Record<string, unknown> {
  return {
    limit_id: limit.id,
    policy: limit.policyName,
    period: limit.period,
    source: subject.kind === 'user' ? source : subject.kind,
    ...(subject.kind === 'group_pool' && { group: subject.group }),
    unit: limit.unit,
    cap: String(amount),
    ...(limit.unit === 'nano_usd' && { cap_cents: String(wholeCents(amount)) }),
  };
}
