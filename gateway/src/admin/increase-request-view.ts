import type { IncreaseRequest, KnownPrincipal } from '@claude-gateway/prisma';
import { amountView } from './limit-view.ts';
import { actorView } from './spend-summary.ts';

/** A request for more as Anthropic's Admin API writes it, then what is ours. */
export function increaseRequestView(
  request: IncreaseRequest,
  known: (sub: string) => KnownPrincipal | undefined,
  summary: Record<string, unknown> | null,
): Record<string, unknown> {
  const person = (sub: string): Record<string, unknown> =>
    actorView(known(sub) ?? { sub, email: null, name: null, groups: [] });
  return {
    type: 'spend_limit_increase_request',
    id: request.id,
    actor: person(request.sub),
    created_at: request.createdAt.toISOString(),
    period: request.period,
    resolved_at: request.resolvedAt?.toISOString() ?? null,
    resolved_by: request.resolvedBy === null ? null : resolverView(request.resolvedBy, person),
    spend_summary: summary,
    status: request.status,
    current_amount: amountView('nano_usd', request.currentAmount),
    requested_amount: amountView('nano_usd', request.requestedAmount),
    approved_amount: amountView('nano_usd', request.approvedAmount),
    currency: 'USD',
    reason: request.reason,
    resolution_note: request.resolutionNote,
  };
}

const KEY = 'admin-key:';
const PERSON = 'oidc:';

function resolverView(
  actor: string,
  person: (sub: string) => Record<string, unknown>,
): Record<string, unknown> {
  if (actor.startsWith(PERSON)) return person(actor.slice(PERSON.length));
  return {
    type: 'scoped_api_key_actor',
    scoped_api_key_id: actor.startsWith(KEY) ? actor.slice(KEY.length) : actor,
  };
}
