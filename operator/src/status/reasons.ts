import type { ConditionInput } from '../kube/conditions.ts';

/**
 * How people should take a reason. `good`: as wanted. `progress`: on its way there, nothing to do. `notice`: somebody
 * should look, sometime. `waiting`: it goes on by itself when something else comes or answers. `failure`: somebody has to
 * change this resource, or what is in its way.
 */
export type Severity = 'good' | 'progress' | 'notice' | 'waiting' | 'failure';

interface ReasonEntry {
  readonly status: ConditionInput['status'];
  readonly severity: Severity;
}

const DELIVERY = {
  AllReplicas: { status: 'True', severity: 'good' },
  Progressing: { status: 'False', severity: 'progress' },
  NoReplicas: { status: 'False', severity: 'progress' },
  ReplicasSilent: { status: 'False', severity: 'waiting' },
  NotAccepted: { status: 'False', severity: 'failure' },
  GatewayNotAccepted: { status: 'False', severity: 'waiting' },
  DatabaseUnavailable: { status: 'Unknown', severity: 'waiting' },
} as const satisfies Record<string, ReasonEntry>;

const SELECTION = {
  Accepted: { status: 'True', severity: 'good' },
  SomeGatewaysNotFound: { status: 'True', severity: 'notice' },
  Invalid: { status: 'False', severity: 'failure' },
  GatewayNotFound: { status: 'False', severity: 'waiting' },
} as const satisfies Record<string, ReasonEntry>;

/** Every reason that a condition may have, by kind and type. docs/reference/conditions.md explains each. */
export const REASONS = {
  ClaudeGateway: {
    Accepted: {
      Accepted: { status: 'True', severity: 'good' },
      NoTrustedProxies: { status: 'True', severity: 'notice' },
      Invalid: { status: 'False', severity: 'failure' },
      ReferenceNotFound: { status: 'False', severity: 'waiting' },
      NameTaken: { status: 'False', severity: 'failure' },
      ChildRefused: { status: 'False', severity: 'failure' },
    },
    Ready: {
      Ready: { status: 'True', severity: 'good' },
      LastAccepted: { status: 'True', severity: 'notice' },
      DatabaseUnreachable: { status: 'True', severity: 'waiting' },
      PodsStarting: { status: 'True', severity: 'progress' },
      RolloutStuck: { status: 'True', severity: 'failure' },
      RolloutInProgress: { status: 'False', severity: 'progress' },
      Paused: { status: 'False', severity: 'notice' },
      NotEnoughReplicas: { status: 'False', severity: 'failure' },
      NotAccepted: { status: 'False', severity: 'failure' },
      DatabaseUnavailable: { status: 'False', severity: 'waiting' },
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
export function severityOf(kind: string, type: string, reason: string): Severity | undefined {
  const kinds: Readonly<Record<string, Record<string, Record<string, ReasonEntry>>>> = REASONS;
  return kinds[kind]?.[type]?.[reason]?.severity;
}

const MESSAGE_LIMIT = 32_768;

/** @param limit in characters. */
export function shorten(text: string, limit: number): string {
  return text.length <= limit ? text : `${text.slice(0, limit - 1)}…`;
}
