export type { AlertsConfig, AlertWebhookConfig } from './schema/alerts.ts';
export type {
  AccessControlConfig,
  LimitsConfig,
  RateLimitConfig,
  RateLimitsConfig,
  TimeoutsConfig,
} from './schema/http-tuning.ts';
export type { GatewayConfig } from './schema/gateway-config.ts';
export type { JsonObject, JsonValue } from './schema/json.ts';
export type { ListenConfig, TlsConfig } from './schema/listen.ts';
export type { ManagedConfig, PolicyConfig, PolicyMatch } from './schema/managed.ts';
export type { MetricsConfig } from './schema/metrics.ts';
export type { ModelConfig } from './schema/models.ts';
export type { OidcProviderConfig } from './schema/oidc.ts';
export type { CriConfig, LoadTestModeConfig } from './schema/reference-only.ts';
export type { SessionConfig, StoreConfig } from './schema/session-store.ts';
export type { ShutdownConfig } from './schema/shutdown.ts';
export type { AdminConfig, EnforcementConfig, PricingConfig } from './schema/spend.ts';
export type { TelemetryConfig, TelemetryDestinationConfig } from './schema/telemetry.ts';
export type {
  AnthropicAuth,
  AnthropicAwsUpstreamConfig,
  AnthropicGoogleCloudUpstreamConfig,
  AnthropicUpstreamConfig,
  BedrockUpstreamConfig,
  FederationAuthConfig,
  FoundryUpstreamConfig,
  MantleUpstreamConfig,
  UpstreamConfig,
  UpstreamProvider,
  VertexUpstreamConfig,
} from './schema/upstreams.ts';
export type { WorkloadIdentityConfig, WorkloadRule } from './schema/workload-identity.ts';
