import { z } from 'zod';
import { clientAssertionSchema } from './client-assertion.ts';
import { compileGroupsPath } from '../groups-path.ts';
import { evenWithProblems, fetchableUrl, nonEmpty, normalizeDomain, numeric, urlText } from './fields.ts';
import { isFetchableUrl } from './addresses.ts';

/** Parameters of the authorization request that the gateway itself sets. */
const MANAGED_PARAMETERS = new Set([
  'redirect_uri',
  'state',
  'nonce',
  'code_challenge',
  'code_challenge_method',
  'scope',
  'response_type',
  'response_mode',
  'client_id',
]);

const discoveryUrl = fetchableUrl()
  .refine((text) => !URL.canParse(text) || new URL(text).pathname.includes('/.well-known/'), {
    error: 'must name the discovery document itself: a path with /.well-known/ in it',
  })
  .describe('Where to fetch the discovery document when it is not below the issuer.');

const scopes = z
  .array(z.string().trim().regex(/^\S+$/, 'must be a single scope, without white space'))
  .refine((list) => list.includes('openid'), { error: "must include 'openid'" })
  .describe(
    'OAuth scopes to ask for, instead of openid, profile, email and offline_access. Without offline_access developers sign in again each session.ttl_hours.',
  );

const extraAuthParams = z
  .record(nonEmpty(), z.string())
  .superRefine((params, ctx) => {
    for (const name of Object.keys(params).filter((key) => MANAGED_PARAMETERS.has(key))) {
      ctx.addIssue({
        code: 'custom',
        path: [name],
        message: 'is set by the gateway and cannot be overridden',
      });
    }
  })
  .default({})
  .describe('More query parameters for the authorization request, such as domain_hint or access_type.');

const emailDomains = z
  .array(z.string())
  .transform((list, ctx) => {
    const domains = list.map(normalizeDomain).filter((domain) => domain !== '');
    if (list.length > 0 && domains.length === 0) {
      ctx.addIssue({ code: 'custom', message: 'has empty entries only' });
    }
    return domains;
  })
  .describe('Admit only people whose email is in one of these domains. Case does not matter.');

const allowedGroups = z
  .array(z.string())
  .refine((list) => list.length === 0 || list.some((group) => group.trim() !== ''), {
    error: 'has empty entries only',
  })
  .transform((list) => list.map((group) => group.trim()).filter((group) => group !== ''))
  .describe('Admit only members of one of these groups.');

const groupsPrefix = nonEmpty()
  .max(64, 'must have at most 64 characters')
  .regex(/^\S+$/, 'must not contain white space')
  .describe(
    "Put before the name of every group of this provider, such as partners/: admin_groups, policies and limits then name its groups as partners/NAME, and no other provider's groups are taken for them.",
  );

const groupsFilter = z
  .array(nonEmpty())
  .min(1, 'needs at least one pattern; leave it out to keep all groups')
  .describe(
    'Keep only groups whose name matches one of these patterns, before groups_prefix. * stands for any characters. allowed_groups looks at all groups.',
  );

const formActionOrigins = z
  .array(
    urlText()
      .refine(isFetchableUrl, { error: 'must be an http:// or https:// origin', abort: true })
      .transform((text) => new URL(text).origin)
      .refine((origin) => !/[;,'"\s]/.test(origin), {
        error: 'must not contain characters that delimit a CSP',
      }),
  )
  .default([])
  .describe("Further origins that sign-in redirects through, for the form-action of the page's CSP.");

const DEFAULT_GROUPS_CLAIM = 'groups';
const groupsPath = nonEmpty()
  .superRefine((query, ctx) => {
    try {
      compileGroupsPath(query);
    } catch (error) {
      ctx.addIssue({
        code: 'custom',
        message:
          `is no JSONPath query (${(error as Error).message}): write one such as $.realm_access.roles[*], ` +
          'or use groups_claim for a claim name or a JSON Pointer',
      });
    }
  })
  .describe(
    "JSONPath (RFC 9535) to the groups, in place of groups_claim, such as $.memberships[?@.kind=='team'].name.",
  );

const shape = {
  issuer: fetchableUrl().describe(
    'Issuer identifier of the OpenID provider; its discovery document is below /.well-known/openid-configuration.',
  ),
  client_id: nonEmpty().describe('Client id of the registration at the provider.'),
  client_secret: nonEmpty().optional().describe('Client secret. Required unless private_key_jwt is used.'),
  client_assertion: clientAssertionSchema.optional(),
  token_endpoint_auth_method: z
    .enum(['client_secret_basic', 'client_secret_post', 'private_key_jwt'])
    .optional()
    .describe(
      'How to authenticate at the token endpoint. Negotiated from the discovery document when left out.',
    ),
  discovery_url: discoveryUrl.optional(),
  ca_cert_pem: z
    .string()
    .optional()
    .describe('CA certificates, PEM, that replace the system trust store for calls to this provider.'),
  use_proxy: z
    .boolean()
    .optional()
    .describe('Whether calls to this provider go through the forward proxy of the environment.'),
  scopes: scopes.optional(),
  scope_on_refresh: z.boolean().default(false).describe('Send the scopes with refresh requests too.'),
  extra_auth_params: extraAuthParams,
  use_pkce: z.boolean().default(true).describe('Send a PKCE challenge (S256).'),
  id_token_signed_response_alg: z
    .enum(['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'])
    .optional()
    .describe('Algorithm that id_tokens must be signed with. RS256 when left out.'),
  clock_skew_seconds: numeric(z.int().nonnegative())
    .prefault(10)
    .describe(
      'Tolerated difference of clocks, in seconds, for the times in an id_token; some providers round them up.',
    ),
  additional_authorized_parties: z
    .array(z.string())
    .optional()
    .describe('Values of the azp claim to accept besides client_id.'),
  user_id_claim: nonEmpty()
    .optional()
    .describe('Claim (name or JSON Pointer) that identifies a person, instead of sub.'),
  email_claim: z
    .union([nonEmpty(), z.array(nonEmpty()).min(1)], {
      error: 'must be a claim name or a non-empty list of them',
    })
    .default('email')
    .describe(
      'Claim (name or JSON Pointer) that holds the email, or a list: the first that is present counts.',
    ),
  groups_claim: nonEmpty()
    .default(DEFAULT_GROUPS_CLAIM)
    .describe('Claim (name or JSON Pointer, RFC 6901) that holds the groups.'),
  groups_jsonpath: groupsPath.optional(),
  groups_prefix: groupsPrefix.optional(),
  groups_filter: groupsFilter.optional(),
  userinfo_fallback: z
    .boolean()
    .default(false)
    .describe('Ask the userinfo endpoint for an email or groups that the id_token lacks.'),
  allowed_email_domains: emailDomains.optional(),
  allowed_groups: allowedGroups.optional(),
  google_groups: z
    .strictObject({
      service_account_json_path: nonEmpty().describe(
        'Path of a service account key with domain-wide delegation for admin.directory.group.readonly.',
      ),
      admin_email: z.email('must be an email address').describe('Workspace administrator to act as.'),
    })
    .optional()
    .describe("Look groups up in Google's directory; they are named by their email address."),
  form_action_origins: formActionOrigins,
};

interface Provider {
  readonly token_endpoint_auth_method?: string | undefined;
  readonly client_secret?: unknown;
  readonly client_assertion?: unknown;
  readonly groups_claim?: string | undefined;
  readonly groups_jsonpath?: string | undefined;
}

function checkProvider(provider: Provider, ctx: z.RefinementCtx): void {
  const issue = (field: string, message: string) => ctx.addIssue({ code: 'custom', path: [field], message });
  if (provider.groups_jsonpath !== undefined && provider.groups_claim !== DEFAULT_GROUPS_CLAIM)
    issue('groups_jsonpath', 'is read in place of groups_claim: remove one of the two');
  if (provider.token_endpoint_auth_method !== 'private_key_jwt') {
    if (provider.client_secret === undefined) {
      issue(
        'client_secret',
        'is required, unless token_endpoint_auth_method is private_key_jwt with a client_assertion',
      );
    }
    if (provider.client_assertion !== undefined) {
      issue('client_assertion', 'is used with token_endpoint_auth_method: private_key_jwt only');
    }
    return;
  }
  if (provider.client_secret !== undefined) {
    issue('client_secret', 'must be left out when token_endpoint_auth_method is private_key_jwt');
  }
  if (provider.client_assertion === undefined) {
    issue('client_assertion', 'is required when token_endpoint_auth_method is private_key_jwt');
  }
}

const PROVIDER_NAME = /^[a-z0-9-]+$/;
/** The provider of a gateway that has one and does not name it. */
export const DEFAULT_PROVIDER_NAME = 'default';

const label = nonEmpty()
  .optional()
  .describe('What people read on the sign-in page, such as "Employees (Okta)".');
const name = z
  .string()
  .regex(PROVIDER_NAME, 'must be lower-case letters, digits and hyphens')
  .refine(
    (text) => text !== 'workload',
    'is the prefix of principals of workload_identity; choose another name',
  )
  .describe(
    'Name of this provider, unique in the list. People of the provider named "default" are known by their subject, those of others by NAME:SUBJECT: changing a name ends their sessions.',
  );

const singleProvider = z
  .strictObject({ name: name.default(DEFAULT_PROVIDER_NAME), label, ...shape })
  .superRefine(checkProvider, evenWithProblems);
const listedProvider = z.strictObject({ name, label, ...shape }).superRefine(checkProvider, evenWithProblems);

/** One identity provider, or several: then the verification page offers a choice. Always a list afterwards. */
export const oidcSchema = z
  .union(
    [
      singleProvider.describe('One identity provider.').transform((provider) => [provider]),
      z
        .array(listedProvider)
        .min(1, 'needs at least one provider')
        .superRefine((list, ctx) => {
          for (const [index, { name }] of list.entries()) {
            if (list.findIndex((other) => other.name === name) !== index) {
              ctx.addIssue({ code: 'custom', path: [index, 'name'], message: 'names must be unique' });
            }
          }
          for (const [index, { groups_prefix: prefix }] of list.entries()) {
            const outer = list.find(
              ({ groups_prefix: other }) =>
                prefix !== undefined && other !== undefined && prefix !== other && prefix.startsWith(other),
            );
            if (outer === undefined) continue;
            ctx.addIssue({
              code: 'custom',
              path: [index, 'groups_prefix'],
              message: `begins with the groups_prefix of ${outer.name}: a group could be either's`,
            });
          }
        })
        .describe('Several identity providers; people choose one on the sign-in page.'),
    ],
    { error: 'must be one identity provider or a list of them' },
  )
  .describe('Who signs people in, and who may: one OpenID Connect provider, or a list of them.');

export type OidcProviderConfig = z.output<typeof oidcSchema>[number];
