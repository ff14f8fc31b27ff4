import { type ReferenceJudge, type ReferenceRemark, UNKNOWN_KEY } from './reference-judge.ts';

/** A settings document with a single key, and what the reference says of it. */
export interface SettingVerdict {
  readonly document: Readonly<Record<string, unknown>>;
  /** Where it sees problems, such as `statusLine.command`; none: it accepts the document. */
  readonly refused: readonly string[];
}

/** Something that no setting looks like. */
const probe = (): Record<string, unknown> => ({ [PROBE_KEY]: [{ x: 1 }] });
const PROBE_KEY = '__probe';
/** What is tried in turn where the reference does not say what it wants (a union of shapes). */
const GUESSES: readonly unknown[] = ['x', 1, true, ['x'], [{}], {}, '1.0.0', 'https://a.example/x'];
const MAX_ROUNDS = 100;
/** It names both keys when a document has a key and its alias: they are judged apart, as the key. */
const IS_AN_ALIAS = /which are the same setting/;

/**
 * Finds out what values the reference takes for each key: begins with something that fits nothing, and corrects what it
 * complains of until it is content. What it complained of on the way is the other half of the answer. Then it is asked
 * about every member that an object could have, by name.
 *
 * @param names Names that a setting, or a member of one, could have; those that the reference does not know do no harm.
 */
export async function probeSettings(
  judge: ReferenceJudge,
  names: readonly string[],
): Promise<SettingVerdict[]> {
  const verdicts: SettingVerdict[] = [];
  const accepted: Attempt[] = [];
  const queues = new Map<string, Attempt[]>(names.map((key) => [key, [new Attempt(key, probe())]]));
  for (let round = 0; round < MAX_ROUNDS && queues.size > 0; round++) {
    const attempts = [...queues.values()].map(([attempt]) => attempt as Attempt);
    const document = Object.assign({}, ...attempts.map((attempt) => attempt.document)) as Record<
      string,
      unknown
    >;
    const remarks = Map.groupBy(await judge.settings(document), ({ path }) => path.split('.')[0] ?? '');
    for (const attempt of attempts) {
      const { key } = attempt;
      const found = remarks.get(key) ?? [];
      if (found.some(({ message }) => UNKNOWN_KEY.test(message) || IS_AN_ALIAS.test(message))) {
        queues.delete(key);
        continue;
      }
      verdicts.push({
        document: structuredClone(attempt.document),
        refused: found.map(({ path }) => path).sort(),
      });
      const [, ...others] = queues.get(key) ?? [];
      if (found.length === 0) accepted.push(attempt);
      const next = found.length > 0 && attempt.correct(found) ? [attempt] : [];
      const queue = [...next, ...others, ...attempt.takeVariants()];
      if (queue.length > 0) queues.set(key, queue);
      else queues.delete(key);
    }
  }
  return [...verdicts, ...(await probeMembers(judge, accepted, names))];
}

/** Asks about every member that each object of the accepted values could have. */
async function probeMembers(
  judge: ReferenceJudge,
  accepted: readonly Attempt[],
  names: readonly string[],
): Promise<SettingVerdict[]> {
  const verdicts: SettingVerdict[] = [];
  const seen = new Set<string>();
  for (const { key, value } of accepted) {
    for (const at of objectsIn(value)) {
      const place = [key, ...at].join('.');
      const own = get(value, at) as Record<string, unknown>;
      const kind = JSON.stringify([place, Object.entries(own).filter(([name]) => name !== PROBE_KEY)]);
      if (seen.has(kind)) continue;
      seen.add(kind);
      const members = { ...Object.fromEntries(names.map((name) => [name, probe()])), ...own };
      const remarks = await judge.settings({ [key]: set(structuredClone(value), at, members) });
      const complaints = Map.groupBy(
        remarks.filter(({ path }) => path.startsWith(`${place}.`)),
        ({ path }) => path.slice(place.length + 1).split('.')[0] ?? '',
      );
      // Names of any kind are members of it: a record.
      if (complaints.size > names.length / 2) continue;
      complaints.delete(PROBE_KEY);
      for (const [name, found] of complaints) {
        verdicts.push({
          document: { [key]: set(structuredClone(value), [...at, name], probe()) },
          refused: found.map(({ path }) => path).sort(),
        });
      }
    }
  }
  return verdicts;
}

/** A value for a key, on its way to one that the reference accepts. */
class Attempt {
  readonly key: string;
  value: unknown;
  /** How many guesses each path has seen. */
  readonly #guesses = new Map<string, number>();
  #variants: Attempt[] = [];

  constructor(key: string, value: unknown) {
    this.key = key;
    this.value = value;
  }

  get document(): Record<string, unknown> {
    return { [this.key]: this.value };
  }

  /** @returns other values that the last complaints asked for as well. */
  takeVariants(): Attempt[] {
    const variants = this.#variants;
    this.#variants = [];
    return variants;
  }

  /** @returns whether anything could be changed. */
  correct(remarks: readonly ReferenceRemark[]): boolean {
    let changed = false;
    for (const { path, message } of remarks) {
      const keys = path.split('.').slice(1);
      const unrecognized = /^Unrecognized keys?: (.*)$/.exec(message);
      if (unrecognized !== null) {
        for (const [, name = ''] of unrecognized[1]?.matchAll(/"([^"]*)"/g) ?? [])
          delete (get(this.value, keys) as Record<string, unknown>)[name];
        changed = true;
        continue;
      }
      const [wanted, ...others] = valuesFor(message) ?? this.#guess(path);
      if (wanted === undefined) continue;
      for (const other of others)
        this.#variants.push(new Attempt(this.key, set(structuredClone(this.value), keys, other)));
      this.value = set(this.value, keys, wanted);
      changed = true;
    }
    return changed;
  }

  #guess(path: string): unknown[] {
    const done = this.#guesses.get(path) ?? 0;
    this.#guesses.set(path, done + 1);
    return done < GUESSES.length ? [structuredClone(GUESSES[done])] : [];
  }
}

/** What a complaint asks for, if it says so; several values if each leads on to other complaints. */
function valuesFor(message: string): unknown[] | undefined {
  const kinds = /Invalid discriminator value\. Expected (.*)$/.exec(message);
  if (kinds !== null) return [...(kinds[1] ?? '').matchAll(/'([^']*)'/g)].map(([, kind]) => kind);
  const members = /exactly one of (.*)$/.exec(message);
  if (members !== null)
    return [...(members[1] ?? '').matchAll(/"([^"]*)"/g)].map(([, name = '']) => ({ [name]: 'x' }));
  const item = /known names: (\w+)/.exec(message);
  if (item !== null) return [[item[1]]];
  const word =
    /expected one of "([^"]*)"/.exec(message) ??
    /: expected "([^"]*)"$/.exec(message) ??
    /(?:must be one of|can only deliver) "([^"]*)"/.exec(message);
  if (word !== null) return [word[1]];
  switch (/(?:[Ee]xpected|must be an) (\w+)(?:,| of)/.exec(message)?.[1]) {
    case 'string':
      return ['x'];
    case 'boolean':
      return [true];
    case 'number':
    case 'int':
      return [1];
    case 'array':
      return [[probe()]];
    case 'object':
    case 'record':
      return [probe()];
    case undefined:
    default:
      return undefined;
  }
}

/** Where objects are inside a value. */
function objectsIn(value: unknown, at: readonly string[] = []): (readonly string[])[] {
  if (typeof value !== 'object' || value === null) return [];
  const inner = Object.entries(value).flatMap(([key, each]) =>
    key === PROBE_KEY && at.length === 0 && Array.isArray(each) ? [] : objectsIn(each, [...at, key]),
  );
  return Array.isArray(value) ? inner : [at, ...inner];
}

function get(value: unknown, keys: readonly string[]): unknown {
  return keys.reduce<unknown>((inner, key) => (inner as Record<string, unknown>)[key], value);
}

/** The value, with another one at a path. */
function set(value: unknown, keys: readonly string[], wanted: unknown): unknown {
  const last = keys.at(-1);
  if (last === undefined) return wanted;
  (get(value, keys.slice(0, -1)) as Record<string, unknown>)[last] = wanted;
  return value;
}
