import { compileWildcard } from '../wildcard.ts';
import { isUsableGroup } from '../text.ts';
import type { OidcSettings } from './settings.ts';

/** What became of the groups that a provider named. */
export interface Groups {
  /** As the provider spells them: what `allowed_groups` is compared with. */
  readonly own: readonly string[];
  /** As everything else here knows them: filtered, and with the provider's prefix. */
  readonly known: readonly string[];
  /** How many were left out because they cannot be stored, or would pass for another provider's. */
  readonly dropped: number;
}

/**
 * Compiles `groups_filter` and `groups_prefix`. A provider with a prefix names no group without it, and no provider names
 * one that begins with another's: so `admin_groups`, policies and limits that name `partners/ops` mean the `ops` of the
 * provider whose prefix is `partners/`, and those that name `ops` do not mean it. See docs/adr/0023.
 */
export function compileGroupRules(
  settings: OidcSettings,
  others: readonly { readonly groups_prefix?: string | undefined }[],
): (said: readonly string[]) => Groups {
  const prefix = settings.groups_prefix ?? '';
  const patterns = settings.groups_filter?.map(compileWildcard);
  const foreign = others.flatMap(({ groups_prefix: other }) =>
    other === undefined || other === prefix ? [] : [other],
  );
  return (said) => {
    const own = said.filter(
      (group) =>
        isUsableGroup(prefix + group) && !foreign.some((other) => (prefix + group).startsWith(other)),
    );
    const chosen = patterns === undefined ? own : own.filter((group) => patterns.some((fits) => fits(group)));
    return { own, known: chosen.map((group) => prefix + group), dropped: said.length - own.length };
  };
}
