import { z } from 'zod';
import type { CustomResource } from './api.ts';
import { conditions, observedGeneration } from './conditions.ts';
import { text } from './fields.ts';
import { identityProviders, session, workloadIdentity } from './gateway/identity.ts';
import { accessControl, database, listen, proxy, publicURL, rateLimits, requestLimits, shutdown, telemetry, timeouts } from './gateway/network.ts'; // prettier-ignore
import { autoscaling, httpRoute, image, ingress, monitoring, networkPolicy, podDisruptionBudget, podTemplate, service, serviceAccount } from './gateway/pods.ts'; // prettier-ignore
import { admin, pricing, retention, spend } from './gateway/spend.ts';
import { models, upstreams } from './gateway/upstreams.ts';
import { AGE, conditionColumn, type ResourceKind } from './kind.ts';
import { withRules } from './rules.ts';

/** `kubectl scale` and a HorizontalPodAutoscaler find no number of pods to change where there is none. */
export const DEFAULT_REPLICAS = 2;

const shape = z.strictObject({
  publicURL,
  image,
  replicas: z
    .int()
    .min(0)
    .max(1000)
    .default(DEFAULT_REPLICAS)
    .describe('Number of pods. Leave it out with autoscaling.'),
  autoscaling,
  service,
  ingress,
  httpRoute,
  podDisruptionBudget,
  networkPolicy,
  monitoring,
  serviceAccount,
  podTemplate,
  listen,
  database,
  session,
  identityProviders,
  workloadIdentity,
  upstreams,
  models,
  pricing,
  admin,
  spend,
  retention,
  managedSettingsMode: z
    .enum(['FirstMatch', 'Layered'])
    .default('FirstMatch')
    .describe(
      'Which ManagedSettings a person gets: the match with the highest priority on the base, or every match on the base.',
    ),
  telemetry,
  loginNotice: text(500, {
    rule: "self.matches(r'\\S')",
    message: 'write a notice, or leave loginNotice out',
    holds: (value) => /\S/.test(value),
  })
    .optional()
    .describe('Notice that developers see while they sign in.'),
  accessControl,
  requestLimits,
  timeouts,
  proxy,
  rateLimits,
  shutdown,
});

type Shape = z.output<typeof shape>;

// A list of one binds `names`: looking every name up anew exceeds what the API server lets a rule cost.
const NO_SUCH_UPSTREAM = 'use the name of one of spec.upstreams';
const named = ({ upstreams: list }: Shape, name: string): boolean => list.some((one) => one.name === name);

const spec = withRules(
  shape,
  {
    // The default is there whether somebody wants it or not.
    rule: `!has(self.autoscaling) || self.replicas == ${DEFAULT_REPLICAS}`,
    message: 'set replicas or autoscaling, and not both: autoscaling chooses the number of pods',
    holds: ({ autoscaling: autoscaled, replicas }) =>
      autoscaled === undefined || replicas === DEFAULT_REPLICAS,
  },
  {
    rule: '!has(self.models.list) || [self.upstreams.map(upstream, upstream.name)].all(names, self.models.list.all(model, model.upstreamModels.all(name, name in names)))',
    message: `upstreamModels names an upstream that is not there: ${NO_SUCH_UPSTREAM}`,
    field: 'models',
    holds: (value) =>
      (value.models.list ?? []).every(({ upstreamModels }) =>
        Object.keys(upstreamModels).every((name) => named(value, name)),
      ),
  },
  {
    rule: '!has(self.pricing) || !has(self.pricing.overrides) || [self.upstreams.map(upstream, upstream.name)].all(names, self.pricing.overrides.all(price, price.upstream in names))',
    message: `overrides names an upstream that is not there: ${NO_SUCH_UPSTREAM}`,
    field: 'pricing',
    holds: (value) => (value.pricing?.overrides ?? []).every(({ upstream }) => named(value, upstream)),
  },
  {
    rule: 'self.upstreams.all(one, !has(one.bedrock) || !has(one.bedrock.guardrail)) || self.upstreams.all(one, !has(one.mantle) && (!has(one.bedrock) || has(one.bedrock.guardrail)))',
    message:
      'put the guardrail on every bedrock upstream, and have no mantle beside it: failover must not go round it',
    field: 'upstreams',
    holds: ({ upstreams: list }) =>
      list.every(({ bedrock }) => bedrock?.guardrail === undefined) ||
      list.every(
        ({ bedrock, mantle }) =>
          mantle === undefined && (bedrock === undefined || bedrock.guardrail !== undefined),
      ),
  },
).describe('What is wanted.');

const count = (what: string) => z.int().min(0).optional().describe(what);

const status = z
  .strictObject({
    observedGeneration: observedGeneration(),
    conditions: conditions(),
    replicas: count('Pods there are.'),
    readyReplicas: count('Pods that are ready.'),
    updatedReplicas: count('Pods of the current revision of the Deployment.'),
    selector: z.string().max(1024).optional().describe('Selector of the pods, for the scale subresource.'),
    url: z.string().max(512).optional().describe('Where the gateway answers.'),
    version: z.string().max(128).optional().describe('Version that the ready pods run.'),
    policyRevision: count('Revision of the policies in the database.'),
    enforcedRevision: count('The newest revision that every ready pod runs.'),
    spendPolicies: count('SpendPolicy resources that apply to this gateway.'),
    managedSettings: count('ManagedSettings resources that apply to this gateway.'),
    signingKeys: z
      .strictObject({
        secretName: z.string().max(253).optional().describe('The Secret that holds them.'),
        rotatedAt: z
          .string()
          .meta({ format: 'date-time' })
          .optional()
          .describe('When the last one was made.'),
        rotatesAt: z.string().meta({ format: 'date-time' }).optional().describe('When the next one is due.'),
      })
      .optional()
      .describe('Signing keys that the operator makes.'),
  })
  .describe('What is the case.');

export type ClaudeGatewaySpec = z.output<typeof spec>;
/** As people write it: without what has a default. */
export type ClaudeGatewaySpecInput = z.input<typeof spec>;
export type ClaudeGatewayStatus = z.output<typeof status>;
export type ClaudeGateway = CustomResource<'ClaudeGateway', ClaudeGatewaySpec, ClaudeGatewayStatus>;

/** `Accepted`: the spec makes sense. `Ready`: enough pods serve it. */
export type ClaudeGatewayCondition = 'Accepted' | 'Ready' | 'Reconciling' | 'Stalled';

export const CLAUDE_GATEWAY = {
  kind: 'ClaudeGateway',
  plural: 'claudegateways',
  singular: 'claudegateway',
  shortNames: ['cgw'],
  description: 'A gateway for Claude Code: where it runs, who may sign in, and where inference goes.',
  spec,
  status,
  rules: [
    {
      rule: "self.metadata.name.size() <= 50 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
      message:
        'choose a name of at most 50 lower-case letters, digits and hyphens that begins with a letter: the Service gets it too',
    },
  ],
  printerColumns: [
    {
      name: 'Ready',
      type: 'integer',
      jsonPath: '.status.readyReplicas',
      description: 'Pods that are ready.',
    },
    { name: 'Pods', type: 'integer', jsonPath: '.status.replicas', description: 'Pods there are.' },
    { name: 'URL', type: 'string', jsonPath: '.spec.publicURL', description: 'Where developers find it.' },
    {
      name: 'Version',
      type: 'string',
      jsonPath: '.status.version',
      description: 'Version that the pods run.',
    },
    conditionColumn('Accepted', 'Whether the spec makes sense.', 1),
    {
      name: 'Reason',
      type: 'string',
      jsonPath: '.status.conditions[?(@.type=="Ready")].reason',
      description: 'Why it is ready or not.',
      priority: 1,
    },
    AGE,
  ],
  scale: {
    specReplicasPath: '.spec.replicas',
    statusReplicasPath: '.status.replicas',
    labelSelectorPath: '.status.selector',
  },
} as const satisfies ResourceKind;
