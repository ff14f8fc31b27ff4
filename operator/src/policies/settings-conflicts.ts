import { lowerAscii } from '@claude-gateway/contract';
import type { ClaudeGateway, ManagedSettings } from '@claude-gateway/crds';
import { ConflictList, enumeration, type Conflicts } from './conflict-list.ts';
import { managedPoliciesOf } from './managed-policies.ts';
import { Reach, type Database } from './reach.ts';

/** Whom two settings both match: names of groups, or of email domains, or everybody. */
type Whom =
  { readonly kind: 'everybody' } | { readonly kind: 'group' | 'domain'; readonly names: readonly string[] };

type Meet = (first: ManagedSettings, second: ManagedSettings, whom: Whom) => void;

/**
 * Managed settings whose order nobody has said, on a common gateway: several that match everybody, of which one alone is the
 * base, and several of one priority that name the same group or email domain, of which the first by name goes before.
 * Each is compared with the one that goes before all, and not with every other. Groups that merely may have a member
 * in common are no conflict.
 *
 * @param settings Of one namespace, as {@link gateways}. They must not change afterwards: what is checked is kept.
 */
export function settingsConflicts(
  settings: readonly ManagedSettings[],
  gateways: readonly ClaudeGateway[],
): Conflicts {
  const reach = new Reach(gateways);
  const byDatabase = new Map<Database, ManagedSettings[]>();
  for (const one of settings.filter(isServed).sort(byName)) {
    for (const database of reach.of(one)) add(byDatabase, database, one);
  }
  const found = new ConflictList(reach);
  for (const [database, here] of byDatabase) {
    const pairs = new Pairs();
    meetAtBase(here, pairs.add);
    for (const equal of Map.groupBy(here, ({ spec }) => spec.priority).values()) meet(equal, pairs.add);
    pairs.tell(database, found);
  }
  return found.byUid();
}

/** Of those that match everybody the first by precedence is the base, and no other is ever reached. */
function meetAtBase(settings: readonly ManagedSettings[], found: Meet): void {
  const [base, ...others] = settings
    .filter(({ spec: { match } }) => match.groups === undefined && match.emailDomains === undefined)
    .sort((a, b) => b.spec.priority - a.spec.priority || byName(a, b));
  if (base === undefined) return;
  for (const other of others) found(base, other, { kind: 'everybody' });
}

/** @param settings Of one priority, by name. */
function meet(settings: readonly ManagedSettings[], found: Meet): void {
  const byGroup = new Map<string, ManagedSettings[]>();
  const byDomain = new Map<string, ManagedSettings[]>();
  for (const one of settings) {
    for (const group of one.spec.match.groups ?? []) add(byGroup, group, one);
    for (const domain of domainsOf(one)) add(byDomain, domain, one);
  }
  for (const { members, names } of alike(byGroup, settings)) {
    const whom = { kind: 'group', names } as const;
    const anywhere = members.filter(({ spec }) => spec.match.emailDomains === undefined);
    withFirst(anywhere, members, whom, found);
    // A person has one address: settings that name domains meet in the domains that they have in common.
    const somewhere = new Map<string, ManagedSettings[]>();
    for (const one of members) for (const domain of domainsOf(one)) add(somewhere, domain, one);
    for (const equal of somewhere.values()) withFirst(equal, equal, whom, found);
  }
  for (const { members, names } of alike(byDomain, settings)) {
    const ofAnyGroup = members.filter(({ spec }) => spec.match.groups === undefined);
    withFirst(ofAnyGroup, members, { kind: 'domain', names }, found);
  }
}

/** Each of `others` meets the first of `settings`. Both by name. */
function withFirst(
  [first]: readonly ManagedSettings[],
  others: readonly ManagedSettings[],
  whom: Whom,
  found: Meet,
): void {
  if (first === undefined) return;
  for (const other of others) {
    if (other === first) continue;
    if (byName(first, other) < 0) found(first, other, whom);
    else found(other, first, whom);
  }
}

/** Names that the same settings name, together: looked at once, however many they are. Those of one alone are left out. */
function alike(
  byName: ReadonlyMap<string, readonly ManagedSettings[]>,
  settings: readonly ManagedSettings[],
): Iterable<{ readonly members: readonly ManagedSettings[]; readonly names: string[] }> {
  const positions = new Map(settings.map((one, position) => [one, position]));
  const found = new Map<string, { members: readonly ManagedSettings[]; names: string[] }>();
  for (const [name, members] of byName) {
    if (members.length < 2) continue;
    const key = members.map((one) => positions.get(one)).join();
    const known = found.get(key);
    if (known === undefined) found.set(key, { members, names: [name] });
    else known.names.push(name);
  }
  return found.values();
}

/** What was found in one database, by pair: the first goes before the second. */
class Pairs {
  readonly #found = new Map<ManagedSettings, Map<ManagedSettings, Map<Whom['kind'], Set<string>>>>();

  readonly add: Meet = (first, second, whom) => {
    const seconds = this.#found.get(first) ?? new Map<ManagedSettings, Map<Whom['kind'], Set<string>>>();
    this.#found.set(first, seconds);
    const kinds = seconds.get(second) ?? new Map<Whom['kind'], Set<string>>();
    seconds.set(second, kinds);
    const names = kinds.get(whom.kind) ?? new Set<string>();
    kinds.set(whom.kind, names);
    if (whom.kind !== 'everybody') for (const name of whom.names) names.add(name);
  };

  tell({ gateways }: Database, found: ConflictList): void {
    for (const [first, seconds] of this.#found) {
      for (const [second, kinds] of seconds) {
        for (const { metadata, spec } of gateways) {
          const sentence = sentenceOf(first, second, kinds, spec.managedSettingsMode === 'Layered');
          found.add(first, second, sentence, [metadata.name]);
        }
      }
    }
  }
}

function sentenceOf(
  { metadata: { name: first }, spec: { priority } }: ManagedSettings,
  { metadata: { name: second }, spec: other }: ManagedSettings,
  kinds: ReadonlyMap<Whom['kind'], ReadonlySet<string>>,
  isLayered: boolean,
): string {
  if (kinds.has('everybody')) {
    const why = priority === other.priority ? 'its name comes first' : 'its priority is higher';
    return `both match everybody, and there is one base: ${first} wins, ${why}; ${second} has no effect`;
  }
  const whom = [...kinds].map(([kind, names]) => whomText(kind, [...names].sort())).join(' and ');
  const outcome = isLayered
    ? `both apply, and where they differ ${first} wins, its name comes first`
    : `${first} wins, its name comes first; ${second} does not reach them`;
  return `both match ${whom} with priority ${priority}: ${outcome}`;
}

function whomText(kind: Whom['kind'], names: readonly string[]): string {
  const what = kind === 'group' ? 'the group' : 'the email domain';
  return `${what}${names.length === 1 ? '' : 's'} ${enumeration(names)}`;
}

/** Settings that are refused are not served, or as they were before. Settings never change, so each is looked at once. */
const served = new WeakMap<ManagedSettings, boolean>();

function isServed(settings: ManagedSettings): boolean {
  let known = served.get(settings);
  if (known === undefined) served.set(settings, (known = 'policies' in managedPoliciesOf(settings)));
  return known;
}

/** In lower case, as the gateway compares, each once. */
function domainsOf({ spec: { match } }: ManagedSettings): ReadonlySet<string> {
  return new Set(match.emailDomains?.map((domain) => lowerAscii(domain)));
}

function byName(a: ManagedSettings, b: ManagedSettings): number {
  return a.metadata.name < b.metadata.name ? -1 : 1;
}

function add<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const known = map.get(key);
  if (known === undefined) map.set(key, [value]);
  else known.push(value);
}
