import { Router, type RequestHandler } from 'express';
import { contextOf } from '../../http/context.ts';
import { OAuthError } from '../../http/errors.ts';
import { deviceCodeGrant, DEVICE_CODE_GRANT, type DeviceCodeGrantDeps } from './device-code-grant.ts';
import { auditLimited, tokenUserOf, tooManyRequests, type Grant } from './grant.ts';
import { answerOAuthFailure } from './oauth-failure.ts';
import { oauthFormOf, readOAuthBody } from './oauth-form.ts';
import { refreshGrant, type RefreshGrantDeps } from './refresh-grant.ts';
import { revokeToken, type RevocationDeps } from './revocation-endpoint.ts';

export const REFRESH_GRANT = 'refresh_token';
export const TOKEN_EXCHANGE_GRANT = 'urn:ietf:params:oauth:grant-type:token-exchange';

export type TokenRouterDeps = DeviceCodeGrantDeps &
  RefreshGrantDeps &
  RevocationDeps & {
    readonly sessions: DeviceCodeGrantDeps['sessions'] &
      RefreshGrantDeps['sessions'] &
      RevocationDeps['sessions'];
    /** `listen.public_url`, without a trailing slash. */
    readonly publicUrl: string;
    /** What `createTokenExchange` made; absent: this gateway lets no workloads in. */
    readonly tokenExchange?: Grant | undefined;
  };

/** The endpoints that clients, not browsers, speak to: discovery, token, revocation. */
export function createTokenRouter(deps: TokenRouterDeps): Router {
  const grants = new Map<string, Grant>([
    [DEVICE_CODE_GRANT, deviceCodeGrant(deps)],
    [REFRESH_GRANT, refreshGrant(deps)],
  ]);
  if (deps.tokenExchange !== undefined) grants.set(TOKEN_EXCHANGE_GRANT, deps.tokenExchange);

  const router = Router();
  router.get('/.well-known/oauth-authorization-server', serveMetadata(deps.publicUrl, [...grants.keys()]));
  router.post('/oauth/token', readOAuthBody(), issueToken(grants, deps));
  router.post('/oauth/revoke', readOAuthBody(), revokeToken(deps));
  router.all(['/oauth/token', '/oauth/revoke'], () => {
    throw new OAuthError('invalid_request', 'This endpoint is asked with POST.', {
      status: 405,
      headers: { allow: 'POST' },
    });
  });
  router.use(['/oauth/token', '/oauth/revoke'], answerOAuthFailure);
  return router;
}

/** RFC 8414. No `authorization_endpoint`: nobody gets a code here, browsers go to the identity provider. */
function serveMetadata(publicUrl: string, grantTypes: readonly string[]): RequestHandler {
  const metadata = {
    issuer: publicUrl,
    device_authorization_endpoint: `${publicUrl}/oauth/device_authorization`,
    token_endpoint: `${publicUrl}/oauth/token`,
    revocation_endpoint: `${publicUrl}/oauth/revoke`,
    grant_types_supported: grantTypes,
    response_types_supported: [],
    token_endpoint_auth_methods_supported: ['none'],
    revocation_endpoint_auth_methods_supported: ['none'],
    scopes_supported: ['openid', 'profile', 'email'],
    service_documentation: `${publicUrl}/protocol`,
    gateway_protocol_version: 1,
  };
  return (_request, response) => {
    response.json(metadata);
  };
}

function issueToken(
  grants: ReadonlyMap<string, Grant>,
  deps: Pick<RevocationDeps, 'limits' | 'audit'>,
): RequestHandler {
  return async (request, response) => {
    const form = oauthFormOf(request.headers['content-type'], request.body);
    const type = form.get('grant_type');
    const grant = type === undefined ? undefined : grants.get(type);
    if (grant === undefined) {
      const known = [...grants.keys()].join(', ');
      throw new OAuthError('unsupported_grant_type', `grant_type must be one of: ${known}.`);
    }
    const context = contextOf(request);
    const wait = deps.limits.take('token', context.clientAddress);
    if (wait !== undefined) {
      auditLimited(deps.audit, context, request.path);
      throw tooManyRequests(wait, type === DEVICE_CODE_GRANT);
    }
    const answer = await grant(form, context, tokenUserOf(request.headers, context.clientAddress));
    response.set({ 'cache-control': 'no-store', pragma: 'no-cache' }).json(answer);
  };
}
