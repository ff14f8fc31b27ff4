import { describe, expect, it } from '@jest/globals';
import { resolveModel } from '@claude-gateway/contract';
import { createModelPolicy, type ModelPolicy } from './models.ts';
import { fixture, load } from './testing/fixtures.ts';

interface Case {
  readonly entries: readonly string[];
  readonly allowed: readonly string[];
  readonly denied: readonly string[];
  readonly listed: readonly string[];
}

interface Recording {
  readonly cases: readonly Case[];
  readonly rows: readonly string[];
  readonly rowCases: readonly Omit<Case, 'listed'>[];
}

const recording = fixture<Recording>('available-models.json');

const rows = (ids: readonly string[]) => ids.map((id) => ({ id, upstream_model: { anthropic: id } }));

/** The one way in which we differ: a model is allowed or denied as such, by whichever of its names it is asked for. */
const canonical = (name: string): string => resolveModel(name)?.id ?? name;

/** Entries that spell a model as a provider does. The reference matches them with that very spelling only. */
const PROVIDER_SPELLINGS: Readonly<Record<string, string>> = {
  'us.anthropic.claude-opus-4-8': 'claude-opus-4-8',
  'anthropic.claude-opus-4-8': 'claude-opus-4-8',
  'claude-haiku-4-5@20251001': 'claude-haiku-4-5-20251001',
};

function expected({ entries, allowed }: Omit<Case, 'listed'>): Set<string> {
  const spelled = entries.flatMap((entry) => PROVIDER_SPELLINGS[entry] ?? []);
  return new Set([...allowed.map(canonical), ...spelled]);
}

function allowedBy(policy: ModelPolicy, entries: readonly string[], names: readonly string[]): string[] {
  const access = policy.accessFor(entries);
  return names.filter((name) => {
    try {
      return policy.check(access, name) !== undefined;
    } catch {
      return false;
    }
  });
}

describe('availableModels, compared with the reference', () => {
  const policy = createModelPolicy(load({ models: rows(['my-model']) }));

  it.each(recording.cases)('$entries', (recorded) => {
    const names = [...recorded.allowed, ...recorded.denied];
    const expectedModels = expected(recorded);
    expect(allowedBy(policy, recorded.entries, names)).toEqual(
      names.filter((name) => expectedModels.has(canonical(name))),
    );
    const listed = policy.accessFor(recorded.entries).listed.map(({ id }) => id);
    const spelled = recorded.entries.flatMap((entry) => PROVIDER_SPELLINGS[entry] ?? []);
    expect(listed.sort()).toEqual([...recorded.listed, ...spelled].sort());
  });
});

describe("availableModels with an operator's own ids, compared with the reference", () => {
  const policy = createModelPolicy(load({ models: rows(recording.rows) }));

  it.each(recording.rowCases)('$entries', (recorded) => {
    const names = [...recorded.allowed, ...recorded.denied];
    const expectedModels = expected(recorded);
    expect(allowedBy(policy, recorded.entries, names).sort()).toEqual(
      names.filter((name) => expectedModels.has(canonical(name))).sort(),
    );
  });
});
