import { lowerAscii } from '@claude-gateway/contract';
import {
  compileClaim,
  compileGroupsQuery,
  hasGroupOverage,
  isEmailUnverified,
  readGroups,
  readText,
  type ClaimReader,
  type Claims,
} from './claims.ts';
import type { OidcSettings } from './settings.ts';

/** What the provider said about somebody, read the way the configuration maps claims. */
export interface Person {
  /** `user_id_claim`, to the letter. */
  readonly id: string | null;
  /** Its ASCII letters in lower case. */
  readonly email: string | null;
  readonly emailUnverified: boolean;
  readonly name: string | null;
  /** null: the claim is nowhere. */
  readonly groups: readonly string[] | null;
  readonly groupOverage: boolean;
}

/** Reads sources in the order of their authority: what an earlier one says, a later one cannot change. */
export type PersonReader = (sources: readonly Claims[]) => Person;

export function compilePersonReader(settings: OidcSettings): PersonReader {
  const id = compileClaim(settings.user_id_claim ?? 'sub');
  const email = [settings.email_claim ?? 'email'].flat().map(compileClaim);
  const name = [compileClaim('name')];
  const groups =
    settings.groups_jsonpath === undefined
      ? compileClaim(settings.groups_claim ?? 'groups')
      : compileGroupsQuery(settings.groups_jsonpath);

  const firstText = (sources: readonly Claims[], readers: readonly ClaimReader[]): string | null => {
    for (const claims of sources) {
      const text = readText(claims, readers);
      if (text !== null) return text;
    }
    return null;
  };
  const firstExact = (sources: readonly Claims[]): string | null => {
    for (const claims of sources) {
      const value = id(claims);
      if (typeof value === 'string' && value !== '') return value;
    }
    return null;
  };
  const firstGroups = (sources: readonly Claims[]): readonly string[] | null => {
    for (const claims of sources) {
      const list = readGroups(claims, groups);
      if (list !== null) return list;
    }
    return null;
  };
  return (sources) => ({
    id: firstExact(sources),
    email: lowered(firstText(sources, email)),
    // The address may be of another source than the word about it: a doubt of any of them counts.
    emailUnverified: sources.some(isEmailUnverified),
    name: firstText(sources, name),
    groups: firstGroups(sources),
    groupOverage: sources.some(hasGroupOverage),
  });
}

function lowered(email: string | null): string | null {
  return email === null ? null : lowerAscii(email);
}
