import { durationMs, type ClaudeGatewaySpec } from '@claude-gateway/crds';
import { FileOf, Part, type Content } from './document.ts';
import { entriesOf, type Field } from './field.ts';
import { certificatesOf, pathOfSecret, secretOf, seconds, type SpecField } from './parts.ts';

/** Signing keys that the operator has made: the keys of the Secret's data, of which the first signs. */
export interface SigningKeyFiles {
  readonly secretName: string;
  readonly keys: readonly string[];
}

type IdentityProvider = ClaudeGatewaySpec['identityProviders'][number];

export const identityProviders = (spec: SpecField): Content =>
  entriesOf(spec.at('identityProviders')).map((provider) => new Part(provider, providerContent(provider)));

const providerContent = (provider: Field<IdentityProvider>): Content => ({
  name: provider.at('name'),
  label: provider.at('displayName'),
  issuer: provider.at('issuer'),
  client_id: provider.at('clientID'),
  client_secret: secretOf(provider.at('clientSecretRef')),
  client_assertion: provider.at('clientAssertion').whenSet(
    (assertion) =>
      new Part(assertion, {
        private_key_pem: secretOf(assertion.at('privateKeyRef')),
        certificate_pem: secretOf(assertion.at('certificateRef')),
      }),
  ),
  token_endpoint_auth_method:
    provider.value.clientAssertion === undefined
      ? provider
          .at('tokenEndpointAuthMethod')
          .as(
            (method) =>
              ({ ClientSecretBasic: 'client_secret_basic', ClientSecretPost: 'client_secret_post' })[method],
          )
      : 'private_key_jwt',
  discovery_url: provider.at('discoveryURL'),
  ca_cert_pem: certificatesOf(provider.at('caRef')),
  use_proxy: provider.at('useProxy'),
  scopes: provider.at('scopes'),
  scope_on_refresh: provider.at('scopeOnRefresh'),
  extra_auth_params: provider.at('extraAuthParams'),
  use_pkce: provider.at('usePKCE'),
  id_token_signed_response_alg: provider.at('idTokenSignedResponseAlg'),
  clock_skew_seconds: seconds(provider.at('clockSkew')),
  additional_authorized_parties: provider.at('additionalAuthorizedParties'),
  user_id_claim: provider.at('userIDClaim'),
  email_claim: provider.at('emailClaims'),
  groups_claim: provider.value.groupsJSONPath === undefined ? provider.at('groupsClaim') : undefined,
  groups_jsonpath: provider.at('groupsJSONPath'),
  groups_prefix: provider.at('groupsPrefix'),
  groups_filter: provider.at('groupsFilter'),
  userinfo_fallback: provider.at('userinfoFallback'),
  allowed_email_domains: provider.at('allowedEmailDomains'),
  allowed_groups: provider.at('allowedGroups'),
  google_groups: provider.at('googleGroups').whenSet(
    (google) =>
      new Part(google, {
        service_account_json_path: pathOfSecret(google.at('serviceAccountKeySecretRef')),
        admin_email: google.at('adminEmail'),
      }),
  ),
  form_action_origins: provider.at('formActionOrigins'),
});

export function session(spec: SpecField, generated: SigningKeyFiles | undefined): Content {
  const field = spec.at('session');
  const { path, value } = field.at('signingKeys');
  const secrets =
    value.secretRefs === undefined
      ? generated?.keys.map((key) => new FileOf('Secret', generated.secretName, key, path, 'content'))
      : entriesOf(field.at('signingKeys').at('secretRefs')).map(secretOf);
  return new Part(field, {
    jwt_secret: secrets && new Part(field.at('signingKeys'), secrets),
    groups: field.at('groups').as((which) => ({ All: 'all', Named: 'named' })[which]),
    ttl_hours: field.at('ttl').as((text) => durationMs(text) / 3_600_000),
  });
}

export const workloadIdentity = (spec: SpecField): Content =>
  spec.at('workloadIdentity').whenSet((list) =>
    entriesOf(list).map(
      (workload) =>
        new Part(workload, {
          name: workload.at('name'),
          issuer: workload.at('issuer'),
          audience: workload.at('audiences'),
          jwks_url: workload.at('jwksURL'),
          ca_cert_pem: certificatesOf(workload.at('caRef')),
          token_ttl_minutes: workload.at('tokenTTL').as((text) => durationMs(text) / 60_000),
          rules: entriesOf(workload.at('rules')).map(
            (rule) =>
              new Part(rule, {
                claims: rule.at('claims'),
                principal: rule.at('principal'),
                groups: rule.at('groups'),
                email: rule.at('email'),
              }),
          ),
        }),
    ),
  );
