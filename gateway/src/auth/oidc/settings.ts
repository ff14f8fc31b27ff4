/** The `oidc` section of gateway.yaml, one identity provider of it, as far as the relying party reads it. */
export interface OidcSettings {
  readonly issuer: string;
  readonly client_id: string;
  readonly client_secret?: string;
  readonly client_assertion?: { readonly private_key_pem: string; readonly certificate_pem: string };
  readonly token_endpoint_auth_method?: 'client_secret_basic' | 'client_secret_post' | 'private_key_jwt';
  readonly discovery_url?: string;
  readonly ca_cert_pem?: string;
  readonly use_proxy?: boolean;
  readonly scopes?: readonly string[];
  readonly scope_on_refresh?: boolean;
  readonly extra_auth_params?: Readonly<Record<string, string>>;
  readonly use_pkce?: boolean;
  readonly id_token_signed_response_alg?: string;
  readonly clock_skew_seconds?: number;
  readonly additional_authorized_parties?: readonly string[];
  readonly user_id_claim?: string;
  readonly email_claim?: string | readonly string[];
  readonly groups_claim?: string;
  readonly userinfo_fallback?: boolean;
  readonly allowed_email_domains?: readonly string[];
  readonly allowed_groups?: readonly string[];
  readonly google_groups?: { readonly service_account_json_path: string; readonly admin_email: string };
  readonly form_action_origins?: readonly string[];
}

export const DEFAULT_SCOPES: readonly string[] = ['openid', 'profile', 'email', 'offline_access'];
export const DEFAULT_ID_TOKEN_ALG = 'RS256';

/** The `scope` of authorization requests. */
export function scopeOf(settings: OidcSettings): string {
  return (settings.scopes ?? DEFAULT_SCOPES).join(' ');
}
