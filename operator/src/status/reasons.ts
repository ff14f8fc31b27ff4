import type { ConditionInput } from '../kube/conditions.ts';

/**
 * How people should take a reason. `good`: as wanted. `progress`: on its way there, nothing to do. `notice`: somebody
 * should look, sometime. `failure`: somebody has to do something.
 */
export type Severity = 'good' | 'progress' | 'notice' | 'failure';

interface ReasonEntry {
  readonly status: ConditionInput['status'];
  readonly severity: Severity;
}

const DELIVERY = {
  AllReplicas: { status: 'True', severity: 'good' },
  Progressing: { status: 'False', severity: 'progress' },
  NoReplicas: { status: 'False', severity: 'progress' },
  NotAccepted: { status: 'False', severity: 'failure' },
  GatewayNotAccepted: { status: 'False', severity: 'failure' },
  DatabaseUnavailable: { status: 'Unknown', severity: 'failure' },
} as const satisfies Record<string, ReasonEntry>;

const SELECTION = {
  Accepted: { status: 'True', severity: 'good' },
  SomeGatewaysNotFound: { status: 'True', severity: 'notice' },
  Invalid: { status: 'False', severity: 'failure' },
  GatewayNotFound: { status: 'False', severity: 'failure' },
} as const satisfies Record<string, ReasonEntry>;

/** Every reason that a condition may have, by kind and type. docs/reference/conditions.md explains each. */
export const REASONS = {
  ClaudeGateway: {
    Accepted: {
      Accepted: { status: 'True', severity: 'good' },
      NoTrustedProxies: { status: 'True', severity: 'notice' },
      Invalid: { status: 'False', severity: 'failure' },
      ReferenceNotFound: { status: 'False', severity: 'failure' },
      NameTaken: { status: 'False', severity: 'failure' },
    },
    Ready: {
      Ready: { status: 'True', severity: 'good' },
      LastAccepted: { status: 'True', severity: 'notice' },
      DatabaseUnreachable: { status: 'True', severity: 'failure' },
      RolloutInProgress: { status: 'False', severity: 'progress' },
      Paused: { status: 'False', severity: 'notice' },
      NotEnoughReplicas: { status: 'False', severity: 'failure' },
      NotAccepted: { status: 'False', severity: 'failure' },
      DatabaseUnavailable: { status: 'False', severity: 'failure' },
      FailedCreate: { status: 'False', severity: 'failure' },
      FailedDelete: { status: 'False', severity: 'failure' },
      ProgressDeadlineExceeded: { status: 'False', severity: 'failure' },
      DeploymentFailed: { status: 'False', severity: 'failure' },
    },
  },
  SpendPolicy: {
    Accepted: { ...SELECTION, SubjectNotSeen: { status: 'True', severity: 'notice' } },
    Enforced: DELIVERY,
  },
  ManagedSettings: {
    Accepted: { ...SELECTION, AcceptedWithWarnings: { status: 'True', severity: 'notice' } },
    Delivered: DELIVERY,
  },
} as const satisfies Record<string, Record<string, Record<string, ReasonEntry>>>;

type Reasons = typeof REASONS;
export type StatusKind = keyof Reasons;
export type ConditionType<K extends StatusKind> = keyof Reasons[K] & string;
export type Reason<K extends StatusKind, T extends ConditionType<K>> = keyof Reasons[K][T] & string;

/** A condition whose status is the one of its reason. */
export function condition<K extends StatusKind, T extends ConditionType<K>>(
  kind: K,
  type: T,
  reason: Reason<K, T>,
  message: string,
  generation: number | undefined,
): ConditionInput {
  const { status } = (REASONS[kind][type] as Record<string, ReasonEntry>)[reason] as ReasonEntry;
  return {
    type,
    status,
    reason,
    message: shorten(message, MESSAGE_LIMIT),
    ...(generation !== undefined && { observedGeneration: generation }),
  };
}

/** @returns undefined for conditions that are not of this API. */
export function severityOf(type: string, reason: string): Severity | undefined {
  for (const types of Object.values<Record<string, Record<string, ReasonEntry>>>(REASONS)) {
    const entry = types[type]?.[reason];
    if (entry !== undefined) return entry.severity;
  }
  return undefined;
}

const MESSAGE_LIMIT = 32_768;

/** @param limit in characters. */
export function shorten(text: string, limit: number): string {
  return text.length <= limit ? text : `${text.slice(0, limit - 1)}…`;
}
