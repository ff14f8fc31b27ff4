import { z } from 'zod';
import {
  atomicList,
  caRef,
  duration,
  groupName,
  httpUrl,
  label,
  mapList,
  mapOf,
  secretKeyRef,
  setOf,
  text,
} from '../fields.ts';
import { exactlyOneOf, matching, withRules } from '../rules.ts';

const claim = () => text(256);
const domain = () =>
  text(
    253,
    matching(
      /^[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?$/,
      'write one bare domain, such as corp.example, without @',
    ),
  );

/** Parameters of the authorization request that the gateway itself sets. */
const MANAGED_PARAMETERS = [
  'redirect_uri', 'state', 'nonce', 'code_challenge', 'code_challenge_method', 'scope', 'response_type',
  'response_mode', 'client_id',
] as const; // prettier-ignore

const extraAuthParams = withRules(mapOf(z.string().max(1024), 32), {
  rule: `self.all(name, !(name in ['${MANAGED_PARAMETERS.join("', '")}']))`,
  message: `leave out ${MANAGED_PARAMETERS.join(', ')}: the gateway sets them`,
  holds: (params) => !MANAGED_PARAMETERS.some((name) => Object.hasOwn(params, name)),
});

const scopes = withRules(
  setOf(text(256, matching(/^\S+$/, 'write one scope an entry, without spaces')), 64),
  {
    rule: "'openid' in self",
    message: 'add openid to the scopes',
    holds: (list) => list.includes('openid'),
  },
);

const identityProvider = withRules(
  z.strictObject({
    name: label().describe(
      'Name of this provider. People of the one named "default" are known by their subject, those of others by NAME:SUBJECT: changing a name ends their sessions.',
    ),
    displayName: text(128).optional().describe('What people read on the sign-in page.'),
    issuer: httpUrl().describe('Issuer identifier of the OpenID provider.'),
    clientID: text(1024).describe('Client id of the registration at the provider.'),
    clientSecretRef: secretKeyRef().optional().describe('Client secret.'),
    clientAssertion: z
      .strictObject({
        privateKeyRef: secretKeyRef().describe(
          'RSA private key of at least 2048 bits, PEM, without passphrase.',
        ),
        certificateRef: secretKeyRef().describe('The certificate that is registered with the provider, PEM.'),
      })
      .optional()
      .describe('Key and certificate instead of a client secret (private_key_jwt).'),
    tokenEndpointAuthMethod: z
      .enum(['ClientSecretBasic', 'ClientSecretPost'])
      .optional()
      .describe('How the client secret is sent. Negotiated when left out.'),
    discoveryURL: text(
      1024,
      matching(
        /^https?:\/\/[^\s\/?#@]+\/([^\s?#]*\/)?\.well-known\/[^\s#]*$/,
        'name the discovery document itself: an http(s) URL with /.well-known/ in its path',
      ),
    )
      .optional()
      .describe('The discovery document, when it is not below the issuer.'),
    caRef: caRef().optional(),
    useProxy: z
      .boolean()
      .optional()
      .describe('Whether calls go through the forward proxy of the environment.'),
    scopes: scopes
      .optional()
      .describe('Scopes to ask for, instead of openid, profile, email and offline_access.'),
    scopeOnRefresh: z.boolean().default(false).describe('Send the scopes with refresh requests too.'),
    extraAuthParams: extraAuthParams
      .optional()
      .describe('More query parameters for the authorization request.'),
    usePKCE: z.boolean().default(true).describe('Send a PKCE challenge (S256).'),
    idTokenSignedResponseAlg: z
      .enum(['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA'])
      .default('RS256')
      .describe('Algorithm that id_tokens must be signed with.'),
    clockSkew: duration('0s', '10m')
      .default('10s')
      .describe('Tolerated difference of clocks; some providers round times up.'),
    additionalAuthorizedParties: setOf(text(1024), 32)
      .optional()
      .describe('Values of the azp claim to accept besides clientID.'),
    userIDClaim: claim()
      .optional()
      .describe('Claim (name or JSON Pointer) that identifies a person, instead of sub.'),
    emailClaims: atomicList(claim(), 16, 1)
      .default(['email'])
      .describe('Claims (names or JSON Pointers) that may hold the email: the first that is present counts.'),
    groupsClaim: claim().default('groups').describe('Claim (name or JSON Pointer) that holds the groups.'),
    groupsJSONPath: text(256)
      .optional()
      .describe(
        "JSONPath (RFC 9535) to the groups, in place of groupsClaim, such as $.memberships[?@.kind=='team'].name.",
      ),
    groupsPrefix: text(64, matching(/^\S+$/, 'write a prefix without spaces, such as partners/'))
      .optional()
      .describe(
        "Put before the name of every group of this provider, such as partners/: policies, limits and admin.groups then name its groups as partners/NAME, and no other provider's groups are taken for them.",
      ),
    groupsFilter: setOf(text(256), 64, 1)
      .optional()
      .describe(
        'Keep only groups whose name matches one of these patterns, before groupsPrefix. * stands for any characters. allowedGroups looks at all groups.',
      ),
    userinfoFallback: z
      .boolean()
      .default(false)
      .describe('Ask the userinfo endpoint for an email or groups that the id_token lacks.'),
    allowedEmailDomains: setOf(domain(), 256, 1)
      .optional()
      .describe('Admit only people whose email is in one of these domains.'),
    allowedGroups: setOf(groupName(), 256, 1)
      .optional()
      .describe('Admit only members of one of these groups.'),
    googleGroups: z
      .strictObject({
        serviceAccountKeySecretRef: secretKeyRef().describe(
          'Key (JSON) of a service account with domain-wide delegation for admin.directory.group.readonly.',
        ),
        adminEmail: text(
          320,
          matching(/^[^@\s]+@[^@\s]+$/, 'write the email address of an administrator'),
        ).describe('Workspace administrator to act as.'),
      })
      .optional()
      .describe("Look groups up in Google's directory; they are named by their email address."),
    formActionOrigins: setOf(
      text(
        512,
        matching(/^https?:\/\/[^\s\/?#@;,\x22\x27]+$/, 'write an origin, such as https://login.corp.example'),
      ),
      16,
    )
      .optional()
      .describe("Further origins that sign-in redirects through, for the form-action of the page's CSP."),
  }),
  exactlyOneOf(
    ['clientSecretRef', 'clientAssertion'],
    'set clientSecretRef, or clientAssertion (private_key_jwt), and not both',
  ),
  {
    rule: 'has(self.clientSecretRef) || !has(self.tokenEndpointAuthMethod)',
    message: 'remove tokenEndpointAuthMethod: it says how a client secret is sent, and there is none',
    field: 'tokenEndpointAuthMethod',
    holds: ({ clientSecretRef, tokenEndpointAuthMethod }) =>
      clientSecretRef !== undefined || tokenEndpointAuthMethod === undefined,
  },
  {
    rule: "self.name != 'workload'",
    message: 'choose another name: workload is the prefix of principals of workloadIdentity',
    field: 'name',
    holds: ({ name }) => name !== 'workload',
  },
);

export const identityProviders = mapList(identityProvider, ['name'], 16, 1).describe(
  'Who signs people in, and who may: OpenID Connect providers. With several, people choose one.',
);

const workloadRule = z.strictObject({
  claims: withRules(mapOf(atomicList(text(512), 32, 1), 16, 1), {
    rule: 'self.size() >= 1 && self.all(claim, claim.size() > 0)',
    message: 'name at least one claim, and what it must be',
    holds: (claims) => Object.keys(claims).length > 0 && !Object.hasOwn(claims, ''),
  }).describe(
    'Claims (name or JSON Pointer) that the token must have, each with patterns of which one must match. * stands for any characters.',
  ),
  principal: text(
    512,
    matching(
      /^([^{}]|\{[^{}\s]+\})+$/,
      'write text with placeholders, such as ci:{repository}; every brace belongs to a pair around the name of a claim',
    ),
  ).describe('Whom the workload acts as, such as ci:{repository}.'),
  groups: setOf(groupName(), 64).optional().describe('Groups of the workload, for policies and limits.'),
  email: text(
    320,
    matching(/^[^{}]*$/, 'write a fixed address: a claim could make a workload look like a person'),
  )
    .optional()
    .describe('Email of the workload, a fixed text.'),
});

const workload = z.strictObject({
  name: label().describe(
    'Name of this source of workloads; it is part of their names and appears in audit events.',
  ),
  issuer: httpUrl().describe('Issuer of the tokens, exactly as in their iss claim.'),
  audiences: setOf(text(1024), 16, 1).describe('Audiences; a token must have one of them.'),
  jwksURL: httpUrl().optional().describe("Where the issuer's keys are. Found by discovery when left out."),
  caRef: caRef().optional(),
  tokenTTL: withRules(duration('1m', '12h'), {
    rule: "!self.contains('s')",
    message: 'write whole hours and minutes, such as 90m',
    holds: (value) => !value.includes('s'),
  })
    .default('1h')
    .describe('Lifetime of the gateway token; at most session.ttl is granted.'),
  rules: atomicList(workloadRule, 32, 1).describe(
    'Tried in order: the first that matches a token decides who the workload is. A token that none matches is refused.',
  ),
});

export const workloadIdentity = mapList(workload, ['name'], 16)
  .optional()
  .describe(
    'Workloads (CI jobs, pods) that exchange their OIDC token for one of the gateway, without a browser.',
  );

export const session = z
  .strictObject({
    groups: z
      .enum(['All', 'Named'])
      .default('Named')
      .describe(
        'Which of their groups the token of a person or workload names. Named: those alone that a policy, a limit, an upstream or admin names at that moment; a group that is named later counts from the next renewal of the token.',
      ),
    ttl: duration('1m', '720h').default('1h').describe('Lifetime of a bearer token.'),
    signingKeys: withRules(
      z.strictObject({
        generated: z
          .strictObject({
            rotateEvery: duration('24h', '87600h')
              .default('720h')
              .describe('How often a new key signs. The one before it verifies until its tokens have ended.'),
          })
          .optional()
          .describe('The operator makes the keys, keeps them in a Secret, and rotates them.'),
        secretRefs: atomicList(secretKeyRef(), 8, 1)
          .optional()
          .describe('Your own keys, at least 32 characters each: the first signs, all verify.'),
      }),
      exactlyOneOf(
        ['generated', 'secretRefs'],
        'set generated (the operator makes keys) or secretRefs, and not both',
      ),
    )
      .prefault({ generated: {} })
      .describe('Keys that sign bearer tokens.'),
  })
  .prefault({})
  .describe('The bearer tokens that the gateway issues.');
