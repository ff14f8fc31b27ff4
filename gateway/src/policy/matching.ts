import { lowerAscii } from '@claude-gateway/contract';
import type { Principal } from '../principal.ts';
import type { PolicyEntry } from './source.ts';

/** Finds the policies of a person: which of them apply, in order of precedence. */
export interface PolicyMatcher {
  /**
   * Indexes of the policies that apply, the most specific (first in the file) first. The base layer, if there is
   * one, comes last. Empty when no policy matches.
   */
  match(principal: Principal): readonly number[];
  /** Index of the base layer: the first policy that matches everybody. */
  readonly base: number | undefined;
}

/**
 * Compiles the matchers of all policies. Policies after the first one that matches everybody are never reached.
 *
 * @param mode `first_match`: the first policy that matches, on the base layer. `layered`: all that match, the earlier
 *   over the later, on the base layer.
 */
export function createPolicyMatcher(
  policies: readonly PolicyEntry[],
  mode: 'first_match' | 'layered',
): PolicyMatcher {
  const rules = policies.map(compileMatch);
  const catchAll = rules.findIndex((rule) => rule.groups === undefined && rule.domain === undefined);
  const base = catchAll === -1 ? undefined : catchAll;
  const specific = base === undefined ? rules : rules.slice(0, base);
  return {
    base,
    match(principal) {
      const domain = domainOf(principal.email);
      const found: number[] = [];
      for (let index = 0; index < specific.length; index++) {
        const { groups, domain: wanted } = specific[index] as Rule;
        if (wanted !== undefined && wanted !== domain) continue;
        if (groups !== undefined && !principal.groups.some((group) => groups.has(group))) continue;
        found.push(index);
        if (mode === 'first_match') break;
      }
      if (base !== undefined) found.push(base);
      return found;
    },
  };
}

interface Rule {
  readonly groups: ReadonlySet<string> | undefined;
  readonly domain: string | undefined;
}

function compileMatch({ match }: PolicyEntry): Rule {
  return {
    groups: match.groups && new Set(match.groups),
    domain: match.email_domain && normaliseDomain(match.email_domain),
  };
}

/** Operators write `Example.com` and `@example.com` alike. */
function normaliseDomain(domain: string): string {
  return lowerAscii(domain.trim().replace(/^@/, ''));
}

/** What follows the last `@`: a quoted local part may contain one too (RFC 5321 §4.1.2). */
function domainOf(email: string | undefined): string | undefined {
  const at = email?.lastIndexOf('@') ?? -1;
  return email === undefined || at === -1 ? undefined : lowerAscii(email.slice(at + 1));
}
