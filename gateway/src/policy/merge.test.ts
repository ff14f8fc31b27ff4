import { describe, expect, it } from '@jest/globals';
import { canonicalJson } from './canonical-json.ts';
import type { JsonObject } from './json.ts';
import { mergeDesktop, mergeSettings, unite } from './merge.ts';
import { seededRandom } from '../testing/random.ts';
import { fixture } from './testing/fixtures.ts';
import { randomObject, shuffled } from './testing/random-json.ts';

interface MergeRecording {
  readonly cases: readonly {
    readonly name: string;
    readonly base: JsonObject;
    readonly specific: JsonObject;
    readonly merged: JsonObject;
  }[];
}

describe('mergeSettings', () => {
  it.each(fixture<MergeRecording>('merge.json').cases)(
    'as the reference: $name',
    ({ base, specific, merged }) => {
      expect(mergeSettings(base, specific)).toEqual(merged);
    },
  );

  it('keeps a wrongly typed value of the more specific policy instead of guessing', () => {
    expect(mergeSettings({ permissions: { deny: ['A'] } }, { permissions: { deny: 'B' } })).toEqual({
      permissions: { deny: 'B' },
    });
    expect(mergeSettings({ env: { A: '1' } }, { env: null })).toEqual({ env: null });
  });

  it('treats keys that JavaScript knows as ordinary keys', () => {
    const over = JSON.parse(
      '{"__proto__": {"polluted": true}, "constructor": 1, "env": {"__proto__": "x"}}',
    ) as JsonObject;
    const merged = mergeSettings({ env: { A: '1' }, toString: 'y' }, over);
    expect(JSON.parse(JSON.stringify(merged))).toEqual(
      JSON.parse(
        '{"env":{"A":"1","__proto__":"x"},"toString":"y","__proto__":{"polluted":true},"constructor":1}',
      ),
    );
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
  });

  it('holds its laws for any documents', () => {
    const random = seededRandom(2);
    for (let run = 0; run < 500; run++) {
      const base = randomObject(random);
      const over = randomObject(random);
      const before = JSON.stringify([base, over]);
      const merged = mergeSettings(base, over);
      expect(JSON.stringify([base, over])).toBe(before);
      expect(canonicalJson(mergeSettings(base, over))).toBe(canonicalJson(merged));
      const again = mergeSettings(shuffled(base, random) as JsonObject, shuffled(over, random) as JsonObject);
      expect(canonicalJson(again)).toBe(canonicalJson(merged));
      expect(canonicalJson(mergeSettings({}, over))).toBe(canonicalJson(over));
      expect(canonicalJson(mergeSettings(base, {}))).toBe(canonicalJson(base));
      expect(canonicalJson(mergeSettings(merged, over))).toBe(canonicalJson(merged));
    }
  });

  it('never drops a deny rule of the base', () => {
    const random = seededRandom(3);
    for (let run = 0; run < 200; run++) {
      const rules = () =>
        Array.from({ length: Math.floor(random() * 5) }, () => `T${Math.floor(random() * 6)}`);
      const [base, over] = [rules(), rules()];
      const merged = mergeSettings({ permissions: { deny: base } }, { permissions: { deny: over } });
      expect((merged['permissions'] as JsonObject)['deny']).toEqual([...new Set([...base, ...over])]);
    }
  });
});

describe('mergeDesktop', () => {
  it('unites disabled tools and keeps restrictions of the base', () => {
    expect(
      mergeDesktop(
        {
          disabledBuiltinTools: ['Write'],
          builtinToolPolicy: { Bash: 'ask', Read: 'allow' },
          banner: { text: 'a', color: 'b' },
        },
        {
          disabledBuiltinTools: ['Glob', 'Write'],
          builtinToolPolicy: { Bash: 'allow', Read: 'ask' },
          banner: { text: 'c' },
        },
      ),
    ).toEqual({
      disabledBuiltinTools: ['Write', 'Glob'],
      builtinToolPolicy: { Bash: 'ask', Read: 'ask' },
      banner: { text: 'c' },
    });
  });
});

describe('unite', () => {
  it('recognises equal items whatever the order of their keys', () => {
    expect(unite([{ a: 1, b: 2 }], [{ b: 2, a: 1 }, { a: 1 }])).toEqual([{ a: 1, b: 2 }, { a: 1 }]);
  });
});
