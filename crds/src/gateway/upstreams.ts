import { z } from 'zod';
import { groupName, headers, httpUrl, mapList, mapOf, secretKeyRef, setOf, text } from '../fields.ts';
import { atMostOneOf, exactlyOneOf, matching, withRules } from '../rules.ts';

const baseURL = (what: string) => httpUrl().optional().describe(`Endpoint instead of ${what}.`);
const POD_IDENTITY = "The pod's own identity is used when no credential is set.";

const federation = withRules(
  z.strictObject({
    federationRuleID: text(256).describe('Federation rule that admits this workload.'),
    organizationID: text(256).describe('Organization of the rule.'),
    tokenAudience: text(1024)
      .optional()
      .describe('Audience of a service account token that Kubernetes issues to the pods for this.'),
    tokenFile: text(1024, matching(/^\//, 'write an absolute path'))
      .optional()
      .describe('Path of another OIDC token, in a volume of podTemplate.'),
    serviceAccountID: text(256).optional().describe('Service account that the rule must lead to.'),
    workspaceID: text(256).optional().describe('Workspace, when the rule covers several.'),
  }),
  exactlyOneOf(
    ['tokenAudience', 'tokenFile'],
    'set tokenAudience (a token of the pod) or tokenFile (one of your own), and not both',
  ),
);

const anthropic = withRules(
  z.strictObject({
    baseURL: httpUrl().default('https://api.anthropic.com').describe('Endpoint of the Messages API.'),
    apiKeySecretRef: secretKeyRef().optional().describe('API key, sent as x-api-key.'),
    oauthTokenSecretRef: secretKeyRef().optional().describe('Bearer token, sent as Authorization.'),
    federation: federation.optional().describe('Workload Identity Federation: no stored credential.'),
    forwardUserIdentity: z
      .boolean()
      .optional()
      .describe('Tell a proxy of your own at baseURL who is asking. Refused for hosts of Anthropic.'),
  }),
  exactlyOneOf(
    ['apiKeySecretRef', 'oauthTokenSecretRef', 'federation'],
    'set exactly one credential: apiKeySecretRef, oauthTokenSecretRef or federation',
  ),
).describe('The Claude API.');

const region = () =>
  text(64, matching(/^[a-z0-9-]+$/, 'write an AWS region, such as us-east-1')).describe('AWS region.');

const accessKeys = z
  .strictObject({
    accessKeyIDSecretRef: secretKeyRef().describe('Access key id.'),
    secretAccessKeySecretRef: secretKeyRef().describe('Secret access key.'),
    sessionTokenSecretRef: secretKeyRef().optional().describe('Session token of temporary keys.'),
  })
  .optional()
  .describe('Access keys of AWS.');

const assumeRole = z
  .strictObject({
    roleARN: text(
      2048,
      matching(
        /^arn:aws(-us-gov)?:iam::[0-9]{12}:role\/[A-Za-z0-9_+=,.@\/-]+$/,
        'write the ARN of an IAM role, such as arn:aws:iam::123456789012:role/inference',
      ),
    ).describe('The IAM role to assume.'),
    externalID: text(
      1224,
      matching(/^[A-Za-z0-9_+=,.@:\/-]{2,}$/, 'use at least 2 letters, digits or characters of _+=,.@:/-'),
    )
      .optional()
      .describe('External id that the trust policy of the role asks for.'),
    sessionName: z
      .enum(['Email', 'Subject'])
      .optional()
      .describe("Name each developer's role session after them, for CloudTrail."),
  })
  .optional()
  .describe('Assume this role with the credentials above it.');

const headerText = (max: number) => text(max, matching(/^[!-~]+$/, 'use printable ASCII without spaces'));

const bedrockShape = {
  region: region(),
  accessKeys,
  bearerTokenSecretRef: secretKeyRef().optional().describe('Bedrock API key, sent as a bearer token.'),
  assumeRole,
};

const bearerRules = [
  atMostOneOf<BedrockAuth>(
    ['accessKeys', 'bearerTokenSecretRef'],
    `set accessKeys or bearerTokenSecretRef, and not both. ${POD_IDENTITY}`,
  ),
  atMostOneOf<BedrockAuth>(
    ['assumeRole', 'bearerTokenSecretRef'],
    'remove bearerTokenSecretRef or assumeRole: a bearer token cannot assume a role',
  ),
] as const;

interface BedrockAuth {
  readonly accessKeys?: unknown;
  readonly bearerTokenSecretRef?: unknown;
  readonly assumeRole?: unknown;
}

const bedrock = withRules(
  z.strictObject({
    ...bedrockShape,
    baseURL: baseURL('the regional bedrock-runtime endpoint, such as a FIPS or VPC endpoint'),
    guardrail: z
      .strictObject({
        id: headerText(2048).describe('Identifier or ARN of the guardrail.'),
        version: headerText(64).describe('Version of the guardrail, such as 1 or DRAFT.'),
        inputTagging: z
          .enum(['LastMessage', 'UserMessages', 'AllMessages', 'AllMessagesAndSystem'])
          .optional()
          .describe('Which parts of the input are tagged for it. All of it is judged when left out.'),
      })
      .optional()
      .describe('Guardrail that every request of this upstream passes.'),
  }),
  ...bearerRules,
).describe(`Amazon Bedrock. ${POD_IDENTITY}`);

const mantle = withRules(
  z.strictObject({ ...bedrockShape, baseURL: baseURL('the regional endpoint') }),
  ...bearerRules,
).describe(`Amazon Bedrock Mantle; serves the models that are listed, and no others. ${POD_IDENTITY}`);

const anthropicAWS = withRules(
  z.strictObject({
    region: region(),
    workspaceID: headerText(256).describe('Workspace of the platform.'),
    baseURL: baseURL('the one derived from the region'),
    apiKeySecretRef: secretKeyRef().optional().describe('API key of the platform, sent as x-api-key.'),
    accessKeys,
  }),
  atMostOneOf(
    ['apiKeySecretRef', 'accessKeys'],
    `set apiKeySecretRef or accessKeys, and not both. ${POD_IDENTITY}`,
  ),
).describe(`Claude Platform on AWS. ${POD_IDENTITY}`);

const identifier = (max: number) =>
  text(max, matching(/^[A-Za-z0-9_-]+$/, 'use letters, digits, hyphens and underscores'));

const googleAuth = {
  serviceAccountKeySecretRef: secretKeyRef().optional().describe('Key (JSON) of a service account.'),
  accessTokenSecretRef: secretKeyRef().optional().describe('Access token to use as it is.'),
};

interface GoogleAuth {
  readonly serviceAccountKeySecretRef?: unknown;
  readonly accessTokenSecretRef?: unknown;
}

const googleRule = atMostOneOf<GoogleAuth>(
  ['serviceAccountKeySecretRef', 'accessTokenSecretRef'],
  `set serviceAccountKeySecretRef or accessTokenSecretRef, and not both. ${POD_IDENTITY}`,
);

const anthropicGoogleCloud = withRules(
  z.strictObject({
    projectID: identifier(128).describe('Google Cloud project.'),
    workspaceID: identifier(256).describe('Workspace of the platform.'),
    location: identifier(64).default('global').describe('Google Cloud location.'),
    baseURL: baseURL('the one of the platform'),
    ...googleAuth,
  }),
  googleRule,
).describe(`Claude Platform on Google Cloud. ${POD_IDENTITY}`);

const vertex = withRules(
  z.strictObject({
    region: identifier(64).describe('Google Cloud region, or global.'),
    projectID: text(128, matching(/^\S+$/, 'write the id of a project, without spaces')).describe(
      'Google Cloud project.',
    ),
    baseURL: baseURL('the regional aiplatform endpoint'),
    ...googleAuth,
  }),
  googleRule,
).describe(`Google Cloud's Agent Platform (Vertex AI). ${POD_IDENTITY}`);

const foundry = z
  .strictObject({
    resource: text(
      64,
      matching(
        /^[A-Za-z0-9][A-Za-z0-9-]{0,62}[A-Za-z0-9]$/,
        'write the name of a resource: 2 to 64 letters, digits or hyphens, without a hyphen at either end',
      ),
    ).describe('Name of the Foundry resource.'),
    baseURL: baseURL('the one derived from the resource, such as of a sovereign cloud'),
    apiKeySecretRef: secretKeyRef().optional().describe('API key of the resource.'),
  })
  .describe(`Microsoft Foundry. ${POD_IDENTITY}`);

/** The kinds of upstream: each has exactly one. */
export const UPSTREAM_PROVIDERS = [
  'anthropic',
  'bedrock',
  'mantle',
  'anthropicAWS',
  'anthropicGoogleCloud',
  'vertex',
  'foundry',
] as const;

const upstream = withRules(
  z.strictObject({
    name: text(
      128,
      matching(
        /^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$/,
        'use letters, digits, dots, hyphens and underscores, with a letter or digit at both ends',
      ),
    ).describe('Name of the upstream; models and prices refer to it.'),
    models: setOf(text(256), 256, 1)
      .optional()
      .describe(
        'The only models, named as clients name them, that are sent here. Every model when left out.',
      ),
    groups: setOf(groupName(), 256, 1)
      .optional()
      .describe('Only members of one of these groups are sent here. Everybody when left out.'),
    headers: headers().optional().describe('More headers for every request to this upstream.'),
    anthropic: anthropic.optional(),
    bedrock: bedrock.optional(),
    mantle: mantle.optional(),
    anthropicAWS: anthropicAWS.optional(),
    anthropicGoogleCloud: anthropicGoogleCloud.optional(),
    vertex: vertex.optional(),
    foundry: foundry.optional(),
  }),
  exactlyOneOf(UPSTREAM_PROVIDERS, `set exactly one of ${UPSTREAM_PROVIDERS.join(', ')}`),
  {
    rule: '!has(self.mantle) || has(self.models)',
    message: 'list models: mantle serves the models that are named, and no others',
    holds: ({ mantle, models }) => mantle === undefined || models !== undefined,
  },
);

export const upstreams = mapList(upstream, ['name'], 32, 1).describe(
  'Where inference goes, in order: the first upstream that has the model, then the next on failure.',
);

const model = z.strictObject({
  id: text(256).describe('Model id, as clients name it.'),
  displayName: text(256).optional().describe('Name for people.'),
  description: text(1024).optional().describe('Text for clients that show one.'),
  upstreamModels: withRules(mapOf(z.string().min(1).max(512), 32, 1), {
    rule: 'self.size() >= 1',
    message: 'name at least one upstream, and what it calls the model',
    holds: (map) => Object.keys(map).length > 0,
  }).describe(
    'What each upstream, by its name, calls the model. Other upstreams are skipped for this model.',
  ),
});

export const models = z
  .strictObject({
    includeBuiltIn: z.boolean().default(true).describe('Offer the built-in catalog too.'),
    list: mapList(model, ['id'], 256)
      .optional()
      .describe('Models beside or instead of the built-in catalog, and what each upstream calls them.'),
  })
  .prefault({})
  .describe('Which models there are.');
