import type { BudgetSubject, ClaimedAlert, LimitScope } from '@claude-gateway/prisma';
import { EXHAUSTED, percentOf, type BudgetState } from './thresholds.ts';

/** `data` of the event, as it is kept until it is delivered. Amounts are strings: they may exceed 2^53. */
export function alertData(state: BudgetState, threshold: number): Record<string, unknown> {
  const { limit, amount, source, subject, window } = state.cap;
  return {
    limit_id: limit.id,
    policy: limit.policyName,
    scope: scopeOf(limit.scope),
    sharing: limit.sharing,
    source,
    subject,
    unit: window.unit,
    period: window.period,
    time_zone: window.timeZone,
    window_id: window.id,
    window_starts_at: window.startsAt.toISOString(),
    window_ends_at: window.endsAt.toISOString(),
    amount: amount.toString(),
    spent: state.spent.toString(),
    percent: Number(percentOf(state)),
    threshold,
  };
}

function scopeOf(scope: LimitScope): Record<string, string> {
  if (scope.type === 'rbac_group') return { type: scope.type, group: scope.group };
  return scope.type === 'user' ? { type: scope.type, user: scope.user } : { type: scope.type };
}

/** An event in the structured mode of CloudEvents 1.0 (JSON event format). */
export interface CloudEvent {
  readonly specversion: '1.0';
  /** The same for every delivery: receivers tell repeats by it. */
  readonly id: string;
  readonly source: string;
  readonly type: string;
  readonly subject: string;
  readonly time: string;
  readonly datacontenttype: 'application/json';
  readonly data: Readonly<Record<string, unknown>>;
}

/**
 * @param source Public URL of this gateway.
 */
export function cloudEventOf(alert: ClaimedAlert, source: string): CloudEvent {
  const { windowId, threshold, raisedAt, data, person } = alert;
  return {
    specversion: '1.0',
    // Without dots, which the signature puts between its parts.
    id: `budget_${windowId}_${threshold}`,
    source,
    type: `dev.claudegateway.budget.${threshold >= EXHAUSTED ? 'exhausted' : 'threshold'}.v1`,
    subject: subjectOf(data['subject'] as BudgetSubject),
    time: raisedAt.toISOString(),
    datacontenttype: 'application/json',
    data: person === null ? data : { ...data, email: person.email, name: person.name },
  };
}

/** `user/<sub>`, `group/<name>` or `organization`. */
function subjectOf(subject: BudgetSubject): string {
  if (subject.kind === 'user') return `user/${subject.sub}`;
  return subject.kind === 'group_pool' ? `group/${subject.group}` : 'organization';
}
