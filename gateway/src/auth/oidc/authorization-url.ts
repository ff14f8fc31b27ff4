import { calculatePKCECodeChallenge } from 'openid-client';
import type { Log } from '../../observe/log.ts';
import type { ProviderMetadata } from './discovery.ts';
import type { SignInSecrets } from './provider.ts';
import { scopeOf, type OidcSettings } from './settings.ts';

/** Parameters that are the protocol's: `extra_auth_params` cannot set them. */
const PROTOCOL_PARAMETERS = new Set([
  'client_id',
  'redirect_uri',
  'response_type',
  'response_mode',
  'scope',
  'state',
  'nonce',
  'code_challenge',
  'code_challenge_method',
  'request',
  'request_uri',
]);

/** Compiles authorization requests: code flow with PKCE S256 (OpenID Connect Core 1.0 §3.1.2.1, RFC 7636 §4.3). */
export function compileAuthorizationUrl(
  settings: OidcSettings,
  deps: { metadata: ProviderMetadata; redirectUri: string; log: Log },
): (secrets: SignInSecrets) => Promise<URL> {
  const base = new URL(deps.metadata.authorization_endpoint);
  for (const [name, value] of Object.entries(settings.extra_auth_params ?? {})) {
    if (PROTOCOL_PARAMETERS.has(name)) {
      deps.log.warn(
        { parameter: name },
        'oidc.extra_auth_params cannot set a parameter of the protocol; left out',
      );
    } else {
      base.searchParams.set(name, value);
    }
  }
  base.searchParams.set('client_id', settings.client_id);
  base.searchParams.set('redirect_uri', deps.redirectUri);
  base.searchParams.set('response_type', 'code');
  base.searchParams.set('response_mode', 'query');
  base.searchParams.set('scope', scopeOf(settings));

  return async (secrets) => {
    const url = new URL(base);
    url.searchParams.set('state', secrets.state);
    url.searchParams.set('nonce', secrets.nonce);
    if (settings.use_pkce !== false) {
      url.searchParams.set('code_challenge', await calculatePKCECodeChallenge(secrets.codeVerifier));
      url.searchParams.set('code_challenge_method', 'S256');
    }
    return url;
  };
}
