import type { ClaudeGateway, ManagedSettings, SpendPolicy } from '@claude-gateway/crds';
import type { LimitContent } from '@claude-gateway/prisma';

/** What is wrong with a spec, beyond what its schema checks. */
export interface Problem {
  /** Such as `spec.limits[0].usd`; empty when it cannot be told. */
  readonly field: string;
  /** For people, with the remedy. */
  readonly message: string;
}

/** A key of a Secret or ConfigMap that a spec refers to. */
export interface Reference {
  readonly kind: 'Secret' | 'ConfigMap';
  readonly name: string;
  readonly key: string;
  /** The fields that name it, such as `spec.upstreams[1].anthropic.apiKeySecretRef`. */
  readonly fields: readonly string[];
}

/** Another resource of the kind that says something about the same. */
export interface Conflict {
  readonly name: string;
  /** What both are about, and which one counts. */
  readonly message: string;
}

/** What was spent of one limit in its current period. */
export interface PolicySpending {
  readonly content: LimitContent;
  /** nano-USD or tokens; of a limit per member, of the member who has spent most. */
  readonly spent: bigint;
  /** nano-USD or tokens that requests in flight may still cost. */
  readonly held: bigint;
  readonly resetsAt: Date;
  readonly members: number;
  readonly blockedMembers: number;
}

/** What became of a policy on one of the gateways that it selects. */
export interface OnGateway {
  readonly name: string;
  /**
   * That has the rows of this policy: of its present spec, or, while that has problems, of the last version without.
   * Undefined: not written yet.
   */
  readonly revision: bigint | undefined;
  /** Live replicas, and the revision that each one runs. */
  readonly replicas: readonly { readonly policyRevision: bigint }[];
  /** Names of ready pods that the database has not heard of for some seconds. */
  readonly silent: readonly string[];
  /** The gateway's own spec never made sense, so there is nobody who could run the policy. */
  readonly notAccepted: boolean;
  /** Why the rows could not be written or read, for people. */
  readonly problem: string | undefined;
}

/** What the status of a policy of either kind is made from. */
export interface PolicyFacts {
  readonly problems: readonly Problem[];
  /** Names in `gatewayRefs` that no gateway of the namespace has. */
  readonly missingGateways: readonly string[];
  readonly gateways: readonly OnGateway[];
  readonly conflicts: readonly Conflict[];
}

export interface SpendPolicyFacts extends PolicyFacts {
  readonly policy: SpendPolicy;
  /** What the spec says that has no effect; for people. */
  readonly warnings?: readonly string[];
  /** What the spec says, compiled; none while it has problems. */
  readonly limits: readonly LimitContent[];
  /** As the databases have it, maybe of an earlier version of the policy. */
  readonly spending: readonly (PolicySpending & { readonly gateway: string })[];
  /** Whether the subject was ever seen on one of the gateways; undefined while that is not known. */
  readonly seen: boolean | undefined;
}

export interface ManagedSettingsFacts extends PolicyFacts {
  readonly settings: ManagedSettings;
  /** What the documents say that has no effect, or not the one that was meant; for people. */
  readonly warnings: readonly string[];
  /** Of all gateways; undefined while that is not known. */
  readonly clients: { readonly current: number; readonly stale: number } | undefined;
  /** `sha256:` and the SHA-256 of the settings as clients get them. */
  readonly checksum: string | undefined;
}

/** What a gateway's status takes from its Deployment. */
export interface DeploymentFacts {
  /** Pods that are wanted: `spec.replicas`. */
  readonly desired: number;
  /** Pods there are. */
  readonly replicas: number;
  readonly readyReplicas: number;
  /** Pods of the current revision. */
  readonly updatedReplicas: number;
  readonly availableReplicas: number;
  readonly generation: number;
  readonly observedGeneration: number;
  readonly conditions: readonly {
    readonly type: string;
    readonly status: string;
    readonly reason?: string;
    readonly message?: string;
  }[];
}

/** One pod of a gateway that is not on its way out. */
export interface PodFacts {
  readonly name: string;
  readonly ready: boolean;
  /** Why it does not become ready, for people; undefined while it is simply starting. */
  readonly problem: string | undefined;
}

/** A child that the API server does not take. */
export interface RefusedChild {
  readonly kind: string;
  readonly name: string;
  /** `content`: something in it is wrong. `cluster`: a quota or an admission policy. `right`: the operator may not make it. */
  readonly cause: 'content' | 'cluster' | 'right';
  /** In the words of the API server, with the field where it names one. */
  readonly detail: string;
}

export interface GatewayFacts {
  readonly gateway: ClaudeGateway;
  readonly problems: readonly Problem[];
  /** References that lead nowhere. */
  readonly missing: readonly Reference[];
  readonly deployment: DeploymentFacts | undefined;
  readonly pods: readonly PodFacts[];
  /** Message of the ForeignObjectError, when another's object has the name of a child. */
  readonly foreign: string | undefined;
  readonly refused: readonly RefusedChild[];
  readonly database: {
    /** Why the operator cannot use it, for people. */
    readonly problem: string | undefined;
    /** Of the policies. */
    readonly revision: bigint | undefined;
    readonly replicas: readonly { readonly policyRevision: bigint; readonly version: string | null }[];
  };
  /** Sentences about what it has in common with other gateways. */
  readonly shared?: readonly string[];
  readonly spendPolicies: number;
  readonly managedSettings: number;
  readonly signingKeys:
    { readonly secretName: string; readonly rotatedAt: Date; readonly rotatesAt: Date } | undefined;
  /** Selector of the pods, as `kubectl get pods --selector` takes it. */
  readonly selector: string;
}
