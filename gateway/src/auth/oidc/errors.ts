/**
 * Why a sign-in was refused; stable, for audit events and tests.
 */
export type SignInRefusal =
  /** The person said no, or the provider did on their behalf (`access_denied`, `interaction_required`, …). */
  | 'idp_denied'
  /** The provider answered the authorization or token request with an OAuth error that is ours to fix. */
  | 'idp_error'
  /** The refresh token is no longer good: the person was disabled, or signed out everywhere. */
  | 'idp_session_ended'
  /** `state`, `nonce`, `iss` or PKCE do not belong to this attempt. */
  | 'response_mismatch'
  /** The ID token is forged, expired, meant for another client or signed otherwise than configured. */
  | 'invalid_id_token'
  /** The claim that `user_id_claim` names is missing. */
  | 'user_id_missing'
  /** It holds what no subject may hold, or begins as those of workloads or of another provider do. */
  | 'user_id_unusable'
  | 'email_unverified'
  | 'email_missing'
  /** It is no address, or holds control characters. */
  | 'email_unusable'
  | 'email_domain_not_allowed'
  | 'group_not_allowed'
  /** A token that names all groups would be larger than the listener accepts. */
  | 'too_many_groups'
  /** A session's refresh was answered with somebody else. */
  | 'subject_mismatch'
  /** The Directory API would not say which groups this person is in. */
  | 'groups_lookup_failed';

/** This person may not sign in. `message` is one sentence for them; `detail` is for the operator's log. */
export class SignInRefused extends Error {
  override readonly name = 'SignInRefused';
  readonly reason: SignInRefusal;
  /** What exactly was wrong, for the log; holds no token or secret. */
  readonly detail: string;

  constructor(reason: SignInRefusal, message: string, detail: string, options: { cause?: unknown } = {}) {
    super(message, options);
    this.reason = reason;
    this.detail = detail;
  }
}

/** The provider did not answer, or answered with a failure of its own (5xx, 429): try again later. */
export class IdentityProviderUnavailable extends Error {
  override readonly name = 'IdentityProviderUnavailable';
  readonly issuer: string;
  /** What exactly was wrong, for the log; holds no token or secret. */
  readonly detail: string;

  constructor(issuer: string, detail: string, options: { cause?: unknown } = {}) {
    super('The identity provider is not answering. Try again in a moment.', options);
    this.issuer = issuer;
    this.detail = detail;
  }
}
