import type { ClaudeGatewaySpec } from '@claude-gateway/crds';
import { Part, TokenFor, type Content } from './document.ts';
import { entriesOf, type Field } from './field.ts';
import { headersOf, pathOfSecret, secretOf, type SpecField } from './parts.ts';

type Upstream = ClaudeGatewaySpec['upstreams'][number];
type Of<P extends keyof Upstream> = Field<NonNullable<Upstream[P]>>;

export const upstreams = (spec: SpecField): Content => entriesOf(spec.at('upstreams')).map(upstreamPart);

function upstreamPart(upstream: Field<Upstream>): Part {
  const own =
    upstream.at('anthropic').whenSet(anthropic) ??
    upstream.at('bedrock').whenSet(bedrock) ??
    upstream.at('mantle').whenSet((field) => ({ provider: new Part(field, 'mantle'), ...aws(field) })) ??
    upstream.at('anthropicAWS').whenSet(anthropicAws) ??
    upstream.at('anthropicGoogleCloud').whenSet(anthropicGoogleCloud) ??
    upstream.at('vertex').whenSet(vertex) ??
    upstream.at('foundry').whenSet(foundry);
  return new Part(upstream, {
    provider: own?.['provider'],
    name: upstream.at('name'),
    models: upstream.at('models'),
    groups: upstream.at('groups'),
    headers: headersOf(upstream.at('headers')),
    ...own,
  });
}

type Keys = Readonly<Record<string, Content>>;

const anthropic = (field: Of<'anthropic'>): Keys => {
  const federation = field.at('federation').whenSet(
    (own) =>
      new Part(own, {
        federation_rule_id: own.at('federationRuleID'),
        organization_id: own.at('organizationID'),
        identity_token_file:
          own.value.tokenAudience === undefined ? own.at('tokenFile') : new TokenFor(own.value.tokenAudience),
        service_account_id: own.at('serviceAccountID'),
        workspace_id: own.at('workspaceID'),
      }),
  );
  return {
    provider: new Part(field, 'anthropic'),
    base_url: field.at('baseURL'),
    auth:
      federation ??
      new Part(field, {
        api_key: secretOf(field.at('apiKeySecretRef')),
        oauth_token: secretOf(field.at('oauthTokenSecretRef')),
      }),
    forward_user_identity: field.at('forwardUserIdentity'),
  };
};

type AccessKeys = NonNullable<NonNullable<Upstream['bedrock']>['accessKeys']>;

/** Every key is left out when the pod's own identity is used. */
const accessKeys = (keys: Field<AccessKeys | undefined>): Keys => ({
  aws_access_key_id: secretOf(keys.at('accessKeyIDSecretRef')),
  aws_secret_access_key: secretOf(keys.at('secretAccessKeySecretRef')),
  aws_session_token: secretOf(keys.at('sessionTokenSecretRef')),
});

/** What Bedrock and Mantle have in common. */
const aws = (field: Field<NonNullable<Upstream['mantle']>>): Keys => ({
  region: field.at('region'),
  base_url: field.at('baseURL'),
  auth: new Part(field, {
    ...accessKeys(field.at('accessKeys')),
    aws_bearer_token: secretOf(field.at('bearerTokenSecretRef')),
  }),
  assume_role: field.at('assumeRole').whenSet(
    (role) =>
      new Part(role, {
        role_arn: role.at('roleARN'),
        external_id: role.at('externalID'),
        session_name: role.at('sessionName').as((name) => ({ Email: 'email', Subject: 'sub' })[name]),
      }),
  ),
});

const bedrock = (field: Of<'bedrock'>): Keys => ({
  provider: new Part(field, 'bedrock'),
  ...aws(field),
  guardrail: field.at('guardrail').whenSet(
    (guardrail) =>
      new Part(guardrail, {
        id: guardrail.at('id'),
        version: guardrail.at('version'),
        input_tagging: guardrail.at('inputTagging').as(
          (tagging) =>
            ({
              LastMessage: 'last_message',
              UserMessages: 'user_messages',
              AllMessages: 'all_messages',
              AllMessagesAndSystem: 'all_messages_and_system',
            })[tagging],
        ),
      }),
  ),
});

const anthropicAws = (field: Of<'anthropicAWS'>): Keys => ({
  provider: new Part(field, 'anthropicAws'),
  region: field.at('region'),
  workspace_id: field.at('workspaceID'),
  base_url: field.at('baseURL'),
  auth: new Part(field, {
    api_key: secretOf(field.at('apiKeySecretRef')),
    ...accessKeys(field.at('accessKeys')),
  }),
});

type GoogleAuth = Pick<
  NonNullable<Upstream['vertex']>,
  'serviceAccountKeySecretRef' | 'accessTokenSecretRef'
>;

const googleAuth = (field: Field<GoogleAuth>): Content =>
  new Part(field, {
    service_account_json: pathOfSecret(field.at('serviceAccountKeySecretRef')),
    access_token: secretOf(field.at('accessTokenSecretRef')),
  });

const anthropicGoogleCloud = (field: Of<'anthropicGoogleCloud'>): Keys => ({
  provider: new Part(field, 'anthropicGoogleCloud'),
  project_id: field.at('projectID'),
  workspace_id: field.at('workspaceID'),
  location: field.at('location'),
  base_url: field.at('baseURL'),
  auth: googleAuth(field),
});

const vertex = (field: Of<'vertex'>): Keys => ({
  provider: new Part(field, 'vertex'),
  region: field.at('region'),
  project_id: field.at('projectID'),
  base_url: field.at('baseURL'),
  auth: googleAuth(field),
});

const foundry = (field: Of<'foundry'>): Keys => ({
  provider: new Part(field, 'foundry'),
  resource: field.at('resource'),
  base_url: field.at('baseURL'),
  auth: new Part(
    field,
    field.value.apiKeySecretRef === undefined
      ? { use_azure_ad: true }
      : { api_key: secretOf(field.at('apiKeySecretRef')) },
  ),
});

export const models = (spec: SpecField): Content =>
  spec
    .at('models')
    .at('list')
    .whenSet((list) =>
      entriesOf(list).map(
        (model) =>
          new Part(model, {
            id: model.at('id'),
            label: model.at('displayName'),
            description: model.at('description'),
            upstream_model: model.at('upstreamModels'),
          }),
      ),
    );
