import { randomUUID } from 'node:crypto';
import type { EnforcementConfig } from '@claude-gateway/contract';
import type { ApiError } from '../../http/errors.ts';
import type { Audit } from '../../observe/audit.ts';
import type { Principal } from '../../principal.ts';
import { boundOf, withPromptTokens, type BodyBound } from '../bound/body-bound.ts';
import {
  conversationOf,
  createConversationMemory,
  type ConversationMemory,
} from '../bound/conversation-memory.ts';
import { countedBound } from '../bound/counted-bound.ts';
import { shrinkOutput, type Remainder } from '../bound/shrink-output.ts';
import { ratesOfCall } from '../prices/rates-of-call.ts';
import { decisiveOf, limitReached, limitsUnavailable, type Blocked } from '../standing/refusal.ts';
import { wholeCents } from '../standing/wording.ts';
import type { AppliedCap, CapSnapshot, Hold, HoldResult, Ledger, PriceBook, Shortage } from '../types.ts';
import type { AdmissionCall, Admitted } from './call.ts';
import { heldOf, leastOf, loweredOf, needOf, needsOf, type Estimate } from './estimate.ts';
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
  readonly enforcement: Pick<EnforcementConfig, 'fail_closed_on_error' | 'min_output_tokens'>;
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
      deps.learned.outputs.observe(model, usage.outputTokens);
      if (!closeToCap) return;
      const conversation = conversationOf(principal.sub, request.headers, model);
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

/** How often output is lowered further because others took what was left in the meantime. */
const MOST_SHRINKS = 3;
/** A conversation is remembered while its cap has room for fewer requests like its last. */
const CLOSE_REQUESTS = 8n;

/** The admission of one request. Each step makes its worst case smaller, as long as it does not fit. */
class Admission<C extends AdmissionCall> {
  readonly #deps: SpendDeps<C>;
  readonly #open: OpenCallDeps;
  readonly #call: C;
  readonly #id = randomUUID();
  readonly #at: number;
  readonly #snapshot: CapSnapshot;
  #caps: readonly AppliedCap[];
  #estimate: Estimate | undefined;
  #body: Buffer | undefined;
  #remembered = false;
  #counted = false;
  #shrinks = 0;
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
    let usedUp = this.#caps.filter((cap) => this.#isUsedUp(cap));
    while (this.#askNextPools(usedUp)) usedUp = this.#caps.filter((cap) => this.#isUsedUp(cap));
    if (usedUp.length > 0) throw this.#refusal(usedUp.map((cap) => this.#blocked(cap, undefined)));
    return this.#hold(this.#firstEstimate());
  }

  #hold(estimate: Estimate): Admitted | Promise<Admitted> {
    this.#estimate = estimate;
    return this.#decide(this.#deps.ledger.hold(this.#id, needsOf(this.#caps, estimate)));
  }

  #decide(result: HoldResult | Promise<HoldResult>): Admitted | Promise<Admitted> {
    if (result instanceof Promise) return result.then((known) => this.#decide(known));
    switch (result.state) {
      case 'held':
        return this.#admitted(result.hold);
      case 'unavailable':
        return this.#unavailable();
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
    const short = this.#caps.filter((cap) => shortageOf(cap, shortages) !== undefined);
    if (estimate === undefined) throw this.#short(shortages);
    if (!this.#couldFit(short, shortages, estimate)) {
      if (this.#askNextPools(short)) return this.#hold(estimate);
      throw this.#short(shortages);
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
          ? this.#shrink(estimate, short, shortages)
          : this.#hold({ ...estimate, bound: better });
      });
    }
    return this.#shrink(estimate, short, shortages);
  }

  /** Whether any better knowledge of the request could help. */
  #couldFit(short: readonly AppliedCap[], shortages: readonly Shortage[], estimate: Estimate): boolean {
    if (short.some(({ limit }) => limit.mode === 'postpaid')) return false;
    const floor = canShrink(short) ? this.#deps.enforcement.min_output_tokens : Infinity;
    const least = { ...estimate, bound: leastOf(estimate.bound, floor) };
    return short.every((cap) => needOf(cap, least) <= availableOf(cap, shortages));
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

  #recall(bound: BodyBound): BodyBound {
    const { principal, request, model } = this.#call;
    const conversation = conversationOf(principal.sub, request.headers, model);
    if (conversation === undefined) return bound;
    const tokens = this.#deps.learned.conversations.promptTokens(conversation, request);
    return tokens === undefined ? bound : withPromptTokens(bound, tokens);
  }

  #shrink(
    estimate: Estimate,
    short: readonly AppliedCap[],
    shortages: readonly Shortage[],
  ): Admitted | Promise<Admitted> {
    if (this.#askNextPools(short)) return this.#hold(estimate);
    if (this.#shrinks++ === MOST_SHRINKS || !canShrink(short)) throw this.#short(shortages);
    const mode = short.every(({ limit }) => limit.mode === 'bounded') ? 'bounded' : 'strict';
    const shrunk = shrinkOutput({
      request: this.#call.request,
      bound: estimate.bound,
      rates: estimate.rates,
      left: leftOf(short, shortages),
      held: (bound) => heldOf(mode, bound, estimate.expectedOutput),
      floor: this.#deps.enforcement.min_output_tokens,
    });
    if (shrunk.state === 'impossible') throw this.#short(shortages);
    this.#body = shrunk.body;
    return this.#hold({ ...estimate, bound: shrunk.bound });
  }

  #admitted(hold: Hold): Admitted {
    const call = this.#call;
    const observer = new OpenCall(this.#open, call, {
      id: this.#id,
      at: this.#at,
      snapshot: this.#snapshot,
      caps: this.#caps,
      hold,
      bound: this.#estimate?.bound,
      closeToCap: this.#closeToCap || this.#isClose(hold),
    });
    return this.#body === undefined ? { observer } : { observer, body: this.#body };
  }

  /** Whether what is left of a cap may soon be too little for the cheap bound. */
  #isClose({ needs }: Hold): boolean {
    for (const { window, cap, amount } of needs) {
      const state = this.#deps.ledger.peek(window.id);
      if (state !== undefined && cap - state.spent < CLOSE_REQUESTS * amount) return true;
    }
    return false;
  }

  #unavailable(): Admitted {
    const estimate = this.#estimate;
    const { enforcement, ledger } = this.#deps;
    const byDefault = enforcement.fail_closed_on_error ? 'closed' : 'open';
    const closed = this.#caps.find(({ limit }) => (limit.failurePolicy ?? byDefault) === 'closed');
    if (closed !== undefined) {
      this.#auditBlocked('store_unavailable', closed, {});
      throw limitsUnavailable();
    }
    const { context, principal } = this.#call;
    context.log.warn(
      { request_id: context.id, sub: principal.sub },
      'cannot read budgets: the request is served without holding what it may cost',
    );
    return this.#admitted(
      ledger.admitUnheld(this.#id, estimate === undefined ? [] : needsOf(this.#caps, estimate)),
    );
  }

  #short(shortages: readonly Shortage[]): ApiError {
    const short = this.#caps.filter((cap) => shortageOf(cap, shortages) !== undefined);
    return this.#refusal(short.map((cap) => this.#blocked(cap, shortageOf(cap, shortages))));
  }

  #blocked(cap: AppliedCap, shortage: Shortage | undefined): Blocked {
    const spent = shortage?.spent ?? this.#deps.ledger.peek(cap.window.id)?.spent ?? 0n;
    const available = shortage?.available ?? 0n;
    return { cap, spent, available, need: this.#leastNeed(cap, available) };
  }

  /** What the request may take at most, with its output lowered as far as that is allowed. */
  #leastNeed(cap: AppliedCap, available: bigint): bigint {
    const estimate = this.#estimate;
    if (estimate === undefined) return 0n;
    const whole = needOf(cap, estimate);
    if (cap.limit.whenShort !== 'shrink_output') return whole;
    const { min_output_tokens: floor } = this.#deps.enforcement;
    const lowered = needOf(cap, { ...estimate, bound: loweredOf(estimate.bound, floor) });
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
      window_id: cap.window.id,
      resets_at: cap.window.endsAt.toISOString(),
      spent: String(decisive.spent),
      need: String(decisive.need),
      available: String(decisive.available),
      blocked_by: blocked.map(({ cap: { limit } }) => limit.id),
    });
    return limitReached(decisive, this.#at, this.#deps.blockedMessage);
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

function canShrink(caps: readonly AppliedCap[]): boolean {
  return caps.every(({ limit }) => limit.whenShort === 'shrink_output');
}

function shortageOf({ window }: AppliedCap, shortages: readonly Shortage[]): Shortage | undefined {
  return shortages.find((shortage) => shortage.window.id === window.id);
}

function availableOf(cap: AppliedCap, shortages: readonly Shortage[]): bigint {
  return shortageOf(cap, shortages)?.available ?? 0n;
}

/** The least that is left of money, and of tokens. */
function leftOf(short: readonly AppliedCap[], shortages: readonly Shortage[]): Remainder {
  let nanoUsd: bigint | undefined;
  let tokens: bigint | undefined;
  for (const cap of short) {
    const available = availableOf(cap, shortages);
    if (cap.limit.unit === 'nano_usd') nanoUsd = least(nanoUsd, available);
    else tokens = least(tokens, available);
  }
  return { ...(nanoUsd !== undefined && { nanoUsd }), ...(tokens !== undefined && { tokens }) };
}

function least(a: bigint | undefined, b: bigint): bigint {
  return a === undefined || b < a ? b : a;
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
