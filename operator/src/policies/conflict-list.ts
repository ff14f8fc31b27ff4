import { gatewayNames, type Policy, type Reach } from './reach.ts';

/** Another resource of the kind that says something about the same. */
export interface Conflict {
  readonly name: string;
  /** What both are about, and which one counts. */
  readonly message: string;
}

/** By uid. Those who have no conflict are left out. */
export type Conflicts = ReadonlyMap<string, readonly Conflict[]>;

/** What a status has room for. */
const MOST = 100;
const LONGEST = 1_024;
/** For what stands behind the last sentence that fits. */
const RESERVE = 64;

/** Gathers what pairs of policies have been found to say about the same. */
export class ConflictList {
  readonly #reach: Reach;
  /** Of each policy and each other: the sentences, and the gateways that they are true of. */
  readonly #found = new Map<Policy, Map<Policy, Map<string, Set<string>>>>();

  constructor(reach: Reach) {
    this.#reach = reach;
  }

  /** @param gateways Names of those where it is so. */
  add(one: Policy, other: Policy, sentence: string, gateways: readonly string[]): void {
    this.#add(one, other, sentence, gateways);
    this.#add(other, one, sentence, gateways);
  }

  #add(of: Policy, other: Policy, sentence: string, gateways: readonly string[]): void {
    const pairs = entry(this.#found, of, () => new Map<Policy, Map<string, Set<string>>>());
    const sentences = entry(pairs, other, () => new Map<string, Set<string>>());
    const names = entry(sentences, sentence, () => new Set<string>());
    for (const name of gateways) names.add(name);
  }

  /** Sorted by name, and cut to what a status has room for. */
  byUid(): Conflicts {
    const conflicts = new Map<string, readonly Conflict[]>();
    for (const [policy, pairs] of this.#found) {
      const everywhere = new Set(gatewayNames(this.#reach.of(policy))).size;
      const listed = [...pairs]
        .sort(([a], [b]) => (a.metadata.name < b.metadata.name ? -1 : 1))
        .slice(0, MOST)
        .map(([other, sentences], index) => {
          const hidden = index === MOST - 1 ? pairs.size - MOST : 0;
          return { name: other.metadata.name, message: messageOf(sentences, everywhere, hidden) };
        });
      conflicts.set(policy.metadata.uid ?? '', listed);
    }
    return conflicts;
  }
}

/**
 * @param everywhere Number of gateways that the policy is for: what is true of all of them names none.
 * @param hidden Number of others that the list has no room for.
 */
function messageOf(
  sentences: ReadonlyMap<string, ReadonlySet<string>>,
  everywhere: number,
  hidden: number,
): string {
  const parts = [...sentences]
    .map(([sentence, names]) =>
      names.size === everywhere ? sentence : `${sentence} (on ${enumeration([...names].sort())})`,
    )
    .sort();
  const end = hidden === 0 ? '' : ` (and ${hidden} others)`;
  return joined(parts) + end;
}

function joined(parts: readonly string[]): string {
  const room = LONGEST - RESERVE;
  let text = '';
  for (const [index, part] of parts.entries()) {
    const next = index === 0 ? part : `${text}; ${part}`;
    if (next.length > room) {
      const left = parts.length - index;
      return index === 0 ? `${part.slice(0, room)}…` : `${text}; and ${left} more`;
    }
    text = next;
  }
  return text;
}

/** Names that are shown of a list of them. */
const SHOWN = 5;

/** `a, b and c`; of many the first ones. */
export function enumeration(names: readonly string[]): string {
  const shown = names.slice(0, SHOWN).map(shortName);
  const rest = names.length - shown.length;
  if (rest > 0) return `${shown.join(', ')} and ${rest} more`;
  const last = shown.pop() ?? '';
  return shown.length === 0 ? last : `${shown.join(', ')} and ${last}`;
}

const LONGEST_NAME = 100;

/** Names of groups and people may be much longer than a sentence about them should be. */
export function shortName(name: string): string {
  return name.length <= LONGEST_NAME ? name : `${name.slice(0, LONGEST_NAME - 1)}…`.toWellFormed();
}

function entry<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  let value = map.get(key);
  if (value === undefined) map.set(key, (value = make()));
  return value;
}
