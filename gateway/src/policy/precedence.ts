import { labelOf, type ServedRow } from './policy-rows.ts';
import type { PolicyEntry } from './source.ts';

/** Policies of the file and of resources as one list, the most specific first. */
export interface CombinedPolicies {
  readonly policies: readonly PolicyEntry[];
  /** Sentences about rows that cannot stand beside the others. */
  readonly leftOut: readonly string[];
}

/**
 * Puts the policies of resources before those of the file. A policy that matches everybody is the base on which the
 * others lie, so it goes behind all of them, whatever its priority; where resources have one, that of the file is not
 * reached.
 *
 * @param rows In order of precedence.
 */
export function combineWithRows(file: readonly PolicyEntry[], rows: readonly ServedRow[]): CombinedPolicies {
  const leftOut: string[] = [];
  let style = file.map(styleOf).find((found) => found !== undefined);
  const fitting: PolicyEntry[] = [];
  for (const { row, policy } of rows) {
    const own = styleOf(policy);
    style ??= own;
    if (own !== undefined && own !== style) {
      leftOut.push(
        `${labelOf(row)} is left out: it has its settings under ${own}, and policies of higher precedence or of gateway.yaml have theirs under ${style}; they all need the same.`,
      );
      continue;
    }
    const { uid } = row.owner;
    fitting.push({
      ...policy,
      origin: { label: labelOf(row), ownerUid: uid, documentHash: row.documentHash },
    });
  }
  const bases = fitting.filter(isBase);
  const baseInFile = file.findIndex(isBase);
  const specificInFile = baseInFile === -1 ? file : file.slice(0, baseInFile);
  const rest = file.slice(specificInFile.length);
  return {
    policies: [...fitting.filter((policy) => !isBase(policy)), ...specificInFile, ...bases, ...rest],
    leftOut,
  };
}

function isBase({ match }: PolicyEntry): boolean {
  return match.groups === undefined && match.email_domain === undefined;
}

/** Policies mean other things for Claude Desktop when one is written under `code`: they may not be mixed. */
function styleOf({ code, cli, settings }: PolicyEntry): 'code' | 'cli' | undefined {
  if (code !== undefined) return 'code';
  return cli !== undefined || settings !== undefined ? 'cli' : undefined;
}
