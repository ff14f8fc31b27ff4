import type { OidcProviderConfig } from '@claude-gateway/contract';

/** One entry of `oidc` in gateway.yaml; what is left out takes the contract's defaults. */
export type OidcSettings = Pick<OidcProviderConfig, 'issuer' | 'client_id'> & Partial<OidcProviderConfig>;

export const DEFAULT_SCOPES: readonly string[] = ['openid', 'profile', 'email', 'offline_access'];
export const DEFAULT_ID_TOKEN_ALG = 'RS256';

/** The `scope` of authorization requests. */
export function scopeOf(settings: OidcSettings): string {
  return (settings.scopes ?? DEFAULT_SCOPES).join(' ');
}
