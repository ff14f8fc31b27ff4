import type { Identity } from '@claude-gateway/prisma';

/** What one browser's sign-in carries from the redirect to the callback; kept sealed in between. */
export interface SignInSecrets {
  readonly state: string;
  readonly nonce: string;
  /** PKCE verifier (RFC 7636 §4.1); always made, sent only when the provider's `use_pkce` is on. */
  readonly codeVerifier: string;
}

/** A person whom the identity provider vouches for and whom the configuration lets in. */
export interface SignedIn {
  readonly identity: Identity;
  /** The provider's refresh token to keep for the next {@link OidcProvider.refresh}; null when it gave none. */
  readonly refreshToken: string | null;
}

/** One identity provider, discovered and ready. */
export interface OidcProvider {
  /** Which entry of `oidc` this is: what `Identity.provider` says. */
  readonly id: string;
  /** What to call it on a button. */
  readonly label: string;
  readonly issuer: string;
  /** Origins that the verification page's form may be redirected to: the provider's own, and `form_action_origins`. */
  readonly formActionOrigins: readonly string[];

  /** Where to send the browser: authorization code flow, `response_mode=query`, PKCE S256. */
  authorizationUrl(secrets: SignInSecrets): Promise<URL>;

  /**
   * Redeems the callback.
   *
   * @param currentUrl The URL that the browser came back to, with its query; only the query is read.
   * @throws SignInRefused when this person may not sign in, or the answer is not the one that was asked for.
   * @throws IdentityProviderUnavailable when the provider could not be asked.
   */
  exchange(currentUrl: URL, secrets: SignInSecrets): Promise<SignedIn>;

  /**
   * Asks the provider again who this is, with everything that was checked at sign-in.
   *
   * @param previous The identity of the session; another `sub` is refused. What the provider does not repeat on a
   *   refresh (name; email or groups when neither ID token nor userinfo carries them) does not outlive the answer.
   * @throws SignInRefused when the session must end.
   * @throws IdentityProviderUnavailable when the client should try again later and stay signed in.
   */
  refresh(refreshToken: string, previous: Identity): Promise<SignedIn>;

  /** Closes idle connections. */
  close(): Promise<void>;
}
