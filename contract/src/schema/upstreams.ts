import { z } from 'zod';
import { anthropicAwsAuth, assumeRole, awsRegion, bedrockAuth, guardrail } from './aws-fields.ts';
import { fetchableUrl, nonEmpty } from './fields.ts';
import { baseUrl, commonUpstreamShape, upstreamModels } from './upstream-fields.ts';

const federation = z.strictObject({
  federation_rule_id: nonEmpty().describe('Federation rule that admits this workload.'),
  organization_id: nonEmpty().describe('Organization of the rule.'),
  identity_token_file: nonEmpty().describe(
    "Path of the workload's OIDC token; read again for every exchange.",
  ),
  service_account_id: z.string().optional().describe('Service account that the rule must lead to.'),
  workspace_id: z.string().optional().describe('Workspace, when the rule covers several.'),
});

const anthropicAuth = z
  .union(
    [
      z.strictObject({ api_key: nonEmpty().describe('API key, sent as x-api-key.') }),
      z.strictObject({ oauth_token: nonEmpty().describe('Bearer token, sent as Authorization.') }),
      federation,
    ],
    {
      error:
        'must have one form: api_key; or oauth_token; or federation_rule_id, organization_id and identity_token_file',
    },
  )
  .describe('Credential: an API key, a bearer token, or Workload Identity Federation.');

const anthropic = z
  .strictObject({
    provider: z.literal('anthropic').describe('Kind of upstream; decides the other keys.'),
    ...commonUpstreamShape,
    models: upstreamModels.optional(),
    base_url: fetchableUrl().default('https://api.anthropic.com').describe('Endpoint of the Messages API.'),
    auth: anthropicAuth,
    forward_user_identity: z
      .boolean()
      .optional()
      .describe('Tell a proxy of your own at base_url who is asking. Refused for hosts of Anthropic.'),
  })
  .describe('The Claude API.');

const bedrock = z
  .strictObject({
    provider: z.literal('bedrock').describe('Kind of upstream; decides the other keys.'),
    ...commonUpstreamShape,
    models: upstreamModels.optional(),
    region: awsRegion,
    base_url: baseUrl('the regional bedrock-runtime endpoint, such as a FIPS or VPC endpoint'),
    guardrail,
    auth: bedrockAuth,
    assume_role: assumeRole,
  })
  .describe('Amazon Bedrock.');

const mantle = z
  .strictObject({
    provider: z.literal('mantle').describe('Kind of upstream; decides the other keys.'),
    ...commonUpstreamShape,
    models: upstreamModels,
    region: awsRegion,
    base_url: baseUrl('the regional endpoint'),
    auth: bedrockAuth,
    assume_role: assumeRole,
  })
  .describe('Amazon Bedrock Mantle; serves the models that are listed, and no others.');

const headerValue = z
  .string()
  .regex(/^[\x21-\x7e]+$/, 'must not be empty, and printable ASCII only')
  .describe('Workspace, sent as a header with every request.');

const anthropicAws = z
  .strictObject({
    provider: z.literal('anthropicAws').describe('Kind of upstream; decides the other keys.'),
    ...commonUpstreamShape,
    models: upstreamModels.optional(),
    region: awsRegion,
    workspace_id: headerValue,
    base_url: baseUrl('the one derived from the region'),
    auth: anthropicAwsAuth,
  })
  .describe('Claude Platform on AWS.');

const IDENTIFIER = /^[A-Za-z0-9_-]+$/;
const identifier = (what: string) =>
  z.string().regex(IDENTIFIER, `must be ${what}: letters, digits, hyphens and underscores`);

const anthropicGoogleCloud = z
  .strictObject({
    provider: z.literal('anthropicGoogleCloud').describe('Kind of upstream; decides the other keys.'),
    ...commonUpstreamShape,
    models: upstreamModels.optional(),
    project_id: identifier('a Google Cloud project').describe('Google Cloud project.'),
    workspace_id: identifier('a workspace').describe('Workspace of the platform.'),
    location: identifier('a Google Cloud location').default('global').describe('Google Cloud location.'),
    base_url: baseUrl('the one of the platform'),
    auth: z
      .strictObject({
        service_account_json: nonEmpty().optional().describe('Path of a service account key.'),
        access_token: nonEmpty().optional().describe('Access token to use as it is.'),
      })
      .prefault({})
      .describe('Credentials. Left empty, Application Default Credentials are used.'),
  })
  .describe('Claude Platform on Google Cloud.');

const vertex = z
  .strictObject({
    provider: z.literal('vertex').describe('Kind of upstream; decides the other keys.'),
    ...commonUpstreamShape,
    models: upstreamModels.optional(),
    region: nonEmpty().describe('Google Cloud region, or global.'),
    project_id: nonEmpty().describe('Google Cloud project.'),
    base_url: baseUrl('the regional aiplatform endpoint'),
    auth: z
      .strictObject({
        service_account_json: z.string().optional().describe('Path of a service account key.'),
        access_token: z.string().optional().describe('Access token to use as it is.'),
      })
      .prefault({})
      .describe('Credentials. Left empty, Application Default Credentials are used.'),
  })
  .describe("Google Cloud's Agent Platform (Vertex AI).");

const foundry = z
  .strictObject({
    provider: z.literal('foundry').describe('Kind of upstream; decides the other keys.'),
    ...commonUpstreamShape,
    models: upstreamModels.optional(),
    resource: z
      .string()
      .regex(
        /^[A-Za-z0-9][A-Za-z0-9-]{0,62}[A-Za-z0-9]$/,
        'must be 2 to 64 letters, digits or hyphens, without a hyphen at either end',
      )
      .describe('Name of the Foundry resource.'),
    base_url: baseUrl('the one derived from the resource, such as of a sovereign cloud'),
    auth: z
      .union(
        [
          z.strictObject({ api_key: nonEmpty().describe('API key of the resource.') }),
          z.strictObject({
            use_azure_ad: z
              .literal(true)
              .describe('Use DefaultAzureCredential: managed or workload identity.'),
          }),
        ],
        { error: 'must have one form: api_key; or use_azure_ad: true' },
      )
      .describe('Credential: an API key, or Microsoft Entra.'),
  })
  .describe('Microsoft Foundry.');

const upstreamSchema = z.discriminatedUnion('provider', [
  anthropic,
  bedrock,
  mantle,
  anthropicAws,
  anthropicGoogleCloud,
  vertex,
  foundry,
]);

type Named<T extends { readonly provider: string; name?: string | undefined }> = T extends unknown
  ? Omit<T, 'name'> & { name: string }
  : never;

function withName<T extends { provider: string; name?: string | undefined }>(upstream: T) {
  return { ...upstream, name: upstream.name ?? upstream.provider };
}

export const upstreamsSchema = z
  .array(upstreamSchema)
  .min(1, 'needs at least one upstream')
  .transform((list) => list.map(withName) as UpstreamConfig[])
  .describe(
    'Where inference goes, in order: the first upstream that has the model, then the next on failure.',
  );

export type AnthropicUpstreamConfig = Named<z.output<typeof anthropic>>;
export type AnthropicAuth = AnthropicUpstreamConfig['auth'];
export type FederationAuthConfig = z.output<typeof federation>;
export type BedrockUpstreamConfig = Named<z.output<typeof bedrock>>;
export type MantleUpstreamConfig = Named<z.output<typeof mantle>>;
export type AnthropicAwsUpstreamConfig = Named<z.output<typeof anthropicAws>>;
export type AnthropicGoogleCloudUpstreamConfig = Named<z.output<typeof anthropicGoogleCloud>>;
export type VertexUpstreamConfig = Named<z.output<typeof vertex>>;
export type FoundryUpstreamConfig = Named<z.output<typeof foundry>>;
export type UpstreamConfig = Named<z.output<typeof upstreamSchema>>;
export type UpstreamProvider = UpstreamConfig['provider'];
