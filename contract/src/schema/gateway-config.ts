import { z } from 'zod';
import { alertsSchema } from './alerts.ts';
import { accessControlSchema, limitsSchema, rateLimitsSchema, timeoutsSchema } from './http-tuning.ts';
import { listenSchema } from './listen.ts';
import { managedSchema } from './managed.ts';
import { metricsSchema } from './metrics.ts';
import { autoIncludeBuiltinModelsSchema, modelsSchema } from './models.ts';
import { oidcSchema } from './oidc.ts';
import { proxySchema } from './proxy.ts';
import { criSchema, loadTestModeSchema } from './reference-only.ts';
import { sessionSchema, storeSchema } from './session-store.ts';
import { shutdownSchema } from './shutdown.ts';
import { adminSchema, enforcementSchema, pricingSchema } from './spend.ts';
import { telemetrySchema } from './telemetry.ts';
import { upstreamsSchema } from './upstreams.ts';
import { workloadIdentitySchema } from './workload-identity.ts';

const loginNotice = z
  .string()
  .trim()
  .min(1, 'must not be blank')
  .max(500, 'must have at most 500 characters')
  .describe('Notice that developers see while they sign in, at most 500 characters.');

/** The top-level keys of gateway.yaml, in the order of the documentation. */
export const sections = {
  $schema: z.string().optional().describe('For editors; the gateway does not read it.'),
  listen: listenSchema,
  // Required unless cri is enabled; cross-checks.ts says so.
  oidc: oidcSchema.optional().transform((providers) => providers ?? []),
  session: sessionSchema,
  store: storeSchema,
  upstreams: upstreamsSchema,
  models: modelsSchema,
  auto_include_builtin_models: autoIncludeBuiltinModelsSchema,
  managed: managedSchema,
  workload_identity: workloadIdentitySchema,
  login_notice: loginNotice.optional(),
  access_control: accessControlSchema,
  limits: limitsSchema,
  timeouts: timeoutsSchema,
  proxy: proxySchema,
  rate_limits: rateLimitsSchema,
  shutdown: shutdownSchema,
  telemetry: telemetrySchema,
  metrics: metricsSchema.optional(),
  admin: adminSchema.optional(),
  enforcement: enforcementSchema,
  pricing: pricingSchema.optional(),
  alerts: alertsSchema,
  load_test_mode: loadTestModeSchema.optional(),
  cri: criSchema.optional(),
} as const;

/** gateway.yaml, section by section; rules that span sections are in cross-checks.ts. */
export const gatewayConfigSchema = z
  .strictObject(sections)
  .describe('Configuration of the gateway (gateway.yaml).');

/** A valid configuration with all defaults in place. */
export type GatewayConfig = z.output<typeof gatewayConfigSchema>;
