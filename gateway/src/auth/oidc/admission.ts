import { lowerAscii } from '@claude-gateway/contract';
import { SignInRefused } from './errors.ts';
import type { OidcSettings } from './settings.ts';

/** Who asks to be let in, as far as admission looks. */
export interface Candidate {
  /** Its ASCII letters in lower case. */
  readonly email: string | null;
  readonly groups: readonly string[];
}

/** @throws SignInRefused when the configuration does not let this person in. */
export type Admission = (candidate: Candidate) => void;

/** Compiles `allowed_email_domains` (whole domains, case-insensitive) and `allowed_groups` (exact names). */
export function compileAdmission(settings: OidcSettings): Admission {
  const domains = new Set(
    (settings.allowed_email_domains ?? []).map((domain) => lowerAscii(domain).replace(/^@/, '')),
  );
  const groups = new Set(settings.allowed_groups ?? []);
  return (candidate) => {
    if (domains.size > 0) assertDomain(candidate.email, domains);
    if (groups.size > 0 && !candidate.groups.some((group) => groups.has(group))) {
      throw new SignInRefused(
        'group_not_allowed',
        'Your account is not in a group that may use this gateway. Ask your administrator for access.',
        `none of ${candidate.groups.length} groups is in oidc.allowed_groups`,
      );
    }
  };
}

function assertDomain(email: string | null, domains: ReadonlySet<string>): void {
  if (email === null) {
    throw new SignInRefused(
      'email_missing',
      'The identity provider did not share your email address, which this gateway needs. Tell your administrator.',
      'no email claim, which oidc.allowed_email_domains needs; request the email scope, set oidc.email_claim, ' +
        'or turn oidc.userinfo_fallback on',
    );
  }
  // Two at signs make a domain a matter of opinion: such an address has none that is allowed.
  const [, domain = '', ...more] = email.split('@');
  if (more.length > 0 || !domains.has(domain)) {
    throw new SignInRefused(
      'email_domain_not_allowed',
      'Your email address belongs to a domain that may not use this gateway. Sign in with your work account.',
      `${JSON.stringify(email.replace(/^[^@]*/, ''))} is not in oidc.allowed_email_domains`,
    );
  }
}
