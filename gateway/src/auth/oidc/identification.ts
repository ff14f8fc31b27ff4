import { DEFAULT_PROVIDER_NAME } from '@claude-gateway/contract';
import type { Identity } from '@claude-gateway/prisma';
import type { Log } from '../../observe/log.ts';
import { isUsableEmail, isUsableSubject, MAX_SUBJECT_CHARACTERS, readableName } from '../text.ts';
import { compileAdmission } from './admission.ts';
import type { Claims } from './claims.ts';
import { IdentityProviderUnavailable, SignInRefused, type SignInRefusal } from './errors.ts';
import type { GoogleGroups } from './google-groups.ts';
import { compileGroupRules } from './group-rules.ts';
import { compilePersonReader, type Person } from './person.ts';
import type { OidcSettings } from './settings.ts';
import type { TokenClient, Tokens } from './token-client.ts';

/** Turns what the provider gave into an admitted identity. @throws SignInRefused, IdentityProviderUnavailable. */
export interface Identification {
  signIn(tokens: Tokens): Promise<Identity>;
  /** @param previous The session's identity: whoever comes back must be the same person. */
  refresh(tokens: Tokens, previous: Identity): Promise<Identity>;
}

export interface IdentificationDependencies {
  readonly providerId: string;
  /** The other providers of this gateway, whose people and groups this one must not be able to name. */
  readonly others: readonly OtherProvider[];
  readonly client: Pick<TokenClient, 'userinfo'>;
  readonly hasUserinfo: boolean;
  readonly googleGroups: GoogleGroups | null;
  readonly log: Log;
}

/**
 * The key under which everything here knows a person. Two providers may both have somebody called `alice`: only people
 * of the provider named `default`, which is the only one of most gateways, keep their subject as it is. See
 * docs/adr/0013.
 */
function subjectOf(providerId: string, id: string): string {
  return providerId === DEFAULT_PROVIDER_NAME ? id : `${providerId}:${id}`;
}

/** What of another provider's settings concerns this one. */
export interface OtherProvider {
  readonly name: string;
  readonly groups_prefix?: string | undefined;
}

/** @throws SignInRefused when nothing here could know somebody by this. */
function assertSubject(id: string, sub: string, reservedPrefixes: readonly string[]): void {
  const reserved = reservedPrefixes.find((prefix) => id.startsWith(prefix));
  if (reserved === undefined && isUsableSubject(sub)) return;
  throw new SignInRefused(
    'user_id_unusable',
    `The identity provider knows you by an id that this gateway cannot use. ${TELL_ADMIN}`,
    reserved === undefined
      ? `${JSON.stringify(id.slice(0, 300))} is longer than ${MAX_SUBJECT_CHARACTERS} characters, or holds control characters or blanks around it; choose another oidc.user_id_claim`
      : `${JSON.stringify(id.slice(0, 300))} begins with ${reserved}, as others' subjects do; choose another oidc.user_id_claim`,
  );
}

const TELL_ADMIN = 'Tell your administrator.';

/** Refusals that say nothing about the person. */
const OPERATORS_REASONS = new Set<SignInRefusal>(['idp_error', 'groups_lookup_failed']);

export function createIdentification(
  settings: OidcSettings,
  deps: IdentificationDependencies,
): Identification {
  const read = compilePersonReader(settings);
  const admit = compileAdmission(settings);
  const groupRules = compileGroupRules(settings, deps.others);
  const reservedPrefixes =
    deps.providerId === DEFAULT_PROVIDER_NAME
      ? ['workload:', ...deps.others.map(({ name }) => `${name}:`)]
      : [];
  const { client, googleGroups, log } = deps;

  /** Groups come from the Directory API when it is configured, and are then no gap. */
  const hasGroups = (person: Person): boolean => person.groups !== null || googleGroups !== null;

  async function admitted(person: Person, fallbackName: string | null): Promise<Identity> {
    if (person.id === null) {
      throw new SignInRefused(
        'user_id_missing',
        `The identity provider did not say who you are. ${TELL_ADMIN}`,
        `no claim ${settings.user_id_claim ?? 'sub'}; check oidc.user_id_claim`,
      );
    }
    if (person.emailUnverified) {
      throw new SignInRefused(
        'email_unverified',
        'Your email address is not verified at the identity provider. Verify it there, then sign in again.',
        'email_verified is there and is not true',
      );
    }
    const sub = subjectOf(deps.providerId, person.id);
    assertSubject(person.id, sub, reservedPrefixes);
    if (person.email !== null && !isUsableEmail(person.email)) {
      throw new SignInRefused(
        'email_unusable',
        `The identity provider sent an email address that this gateway cannot use. ${TELL_ADMIN}`,
        `${JSON.stringify(person.email.slice(0, 320))} is longer than an address can be, or holds control characters; check oidc.email_claim`,
      );
    }
    if (person.groups === null && person.groupOverage) {
      log.warn(
        { sub: person.id },
        'Entra left the groups out of the token because there are too many: limit the claim to "groups assigned to ' +
          'the application", or use app roles with oidc.groups_claim: roles',
      );
    }
    const said = googleGroups === null ? (person.groups ?? []) : await lookUp(googleGroups, person.email);
    const { own, known, dropped } = groupRules(said);
    if (dropped > 0) {
      log.warn(
        { sub, dropped },
        'left out groups that cannot be stored, or that begin as those of another provider (oidc.groups_prefix)',
      );
    }
    admit({ email: person.email, groups: own });
    return {
      sub,
      provider: deps.providerId,
      email: person.email,
      name: (person.name === null ? null : readableName(person.name)) ?? fallbackName,
      groups: known,
    };
  }

  return {
    signIn: async (tokens) => {
      if (tokens.claims === null) {
        throw new SignInRefused(
          'invalid_id_token',
          `The identity provider sent an incomplete sign-in. ${TELL_ADMIN}`,
          'the token endpoint gave no ID token; oidc.scopes must include openid',
        );
      }
      let person = read([tokens.claims]);
      const hasGap = person.email === null || !hasGroups(person);
      if (settings.userinfo_fallback === true && hasGap && deps.hasUserinfo) {
        const userinfo = await client.userinfo(tokens.accessToken, tokens.claims.sub);
        person = read([tokens.claims, userinfo]);
      }
      return admitted(person, null);
    },

    refresh: async (tokens, previous) => {
      try {
        const person = read(await refreshSources(tokens, previous));
        if (person.id !== null && subjectOf(deps.providerId, person.id) !== previous.sub) {
          throw new SignInRefused(
            'subject_mismatch',
            'Your session belongs to somebody else. Sign in again.',
            'the refresh was answered for another user',
          );
        }
        return await admitted(person, previous.name);
      } catch (error) {
        // Our access to userinfo or the directory is broken, but the person's session at the provider is alive.
        if (error instanceof SignInRefused && OPERATORS_REASONS.has(error.reason)) {
          throw new IdentityProviderUnavailable(settings.issuer, error.detail, { cause: error });
        }
        throw error;
      }
    },
  };

  /** Providers say less on a refresh: some repeat no ID token, some a thin one. UserInfo knows the rest. */
  async function refreshSources(tokens: Tokens, previous: Identity): Promise<Claims[]> {
    if (tokens.claims === null) {
      if (!deps.hasUserinfo) {
        throw new SignInRefused(
          'idp_session_ended',
          'Your session has ended. Sign in again.',
          'the refresh brought no ID token and there is no userinfo endpoint; try oidc.scope_on_refresh: true',
        );
      }
      return [await client.userinfo(tokens.accessToken, null)];
    }
    const person = read([tokens.claims]);
    const mayAsk = settings.userinfo_fallback === true;
    const hasGap = person.email === null || !hasGroups(person);
    const hasLost =
      (person.email === null && previous.email !== null) ||
      (!hasGroups(person) && previous.groups.length > 0);
    if (!deps.hasUserinfo || !(mayAsk ? hasGap : hasLost)) return [tokens.claims];
    try {
      return [tokens.claims, await client.userinfo(tokens.accessToken, tokens.claims.sub)];
    } catch (error) {
      if (mayAsk || !(error instanceof SignInRefused)) throw error;
      log.warn(
        { detail: error.detail },
        'a refresh said less than the sign-in did, and userinfo does not help',
      );
      return [tokens.claims];
    }
  }
}

async function lookUp(googleGroups: GoogleGroups, email: string | null): Promise<readonly string[]> {
  if (email === null) {
    throw new SignInRefused(
      'email_missing',
      `The identity provider did not share your email address, which this gateway needs. ${TELL_ADMIN}`,
      'no email claim, which oidc.google_groups needs; request the email scope',
    );
  }
  return googleGroups.groupsOf(email);
}
