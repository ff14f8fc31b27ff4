import type { DestinationStream } from 'pino';

/** Names of audit events: those of the reference gateway, then our own. */
export type AuditEvent =
  | 'config.load'
  | 'config.reject'
  | 'session.mint'
  | 'session.refresh'
  | 'session.revoke'
  | 'session.exchange'
  | 'device.authorize'
  | 'device.verify'
  | 'auth.denied'
  | 'access.denied'
  | 'inference'
  | 'managed.serve'
  | 'desktop_bootstrap.serve'
  | 'desktop_bootstrap.denied'
  | 'policy.load'
  | 'policy.reject'
  | 'spend.blocked'
  | 'budget.threshold'
  | 'budget.exhausted'
  | 'admin.denied'
  | 'admin.limit.upsert'
  | 'admin.limit.delete'
  | 'admin.increase_request.create'
  | 'admin.increase_request.approve'
  | 'admin.increase_request.deny';

export type Audit = (event: AuditEvent, fields: Record<string, unknown>) => void;

/**
 * The audit stream: one JSON object a line, `{"ts","evt",…}`, whatever the log level is.
 * Fields must hold no prompt, completion, token or secret.
 */
export function createAudit(stream: DestinationStream, clock: () => Date = () => new Date()): Audit {
  return (event, fields) => {
    stream.write(`${JSON.stringify({ ts: clock().toISOString(), evt: event, ...fields })}\n`);
  };
}
