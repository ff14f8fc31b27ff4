export { API_GROUP, API_VERSION, API_VERSION_NAME, type CustomResource, type ObjectMeta } from './api.ts';
export {
  CLAUDE_GATEWAY,
  type ClaudeGateway,
  type ClaudeGatewayCondition,
  DEFAULT_REPLICAS,
  type ClaudeGatewaySpec,
  type ClaudeGatewaySpecInput,
  type ClaudeGatewayStatus,
} from './claude-gateway.ts';
export type { Condition } from './conditions.ts';
export { KINDS, schemaOf, toDefinition, type CustomResourceDefinition } from './definition.ts';
export { durationMs } from './duration.ts';
export { UPSTREAM_PROVIDERS } from './gateway/upstreams.ts';
export type { PrinterColumn, ResourceKind } from './kind.ts';
export {
  MANAGED_SETTINGS,
  type ManagedSettings,
  type ManagedSettingsCondition,
  type ManagedSettingsSpec,
  type ManagedSettingsSpecInput,
  type ManagedSettingsStatus,
} from './managed-settings.ts';
export { parseManifest, ManifestError, type ManifestProblem, type Resource } from './manifest.ts';
export {
  SPEND_POLICY,
  type SpendPolicy,
  type SpendPolicyCondition,
  type SpendPolicyLimit,
  type SpendPolicyLimitStatus,
  type SpendPolicySpec,
  type SpendPolicySpecInput,
  type SpendPolicyStatus,
} from './spend-policy.ts';
export {
  NotStructuralError,
  toStructuralSchema,
  type KubernetesMeta,
  type StructuralSchema,
  type ValidationRule,
} from './structural-schema.ts';
