import { describe, expect, it } from '@jest/globals';
import { parse, stringify } from 'yaml';
import { loadConfig } from './load-config.ts';
import { ConfigError } from './problem.ts';
import { completeYaml, ENV, FILES, readFile } from './testing/documents.ts';
import { unsupportedSections } from './unsupported-sections.ts';

/** Deterministic noise (mulberry32), so that a failure can be repeated. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

const SECRETS = [...Object.values(ENV), ...Object.values(FILES)]
  .map((value) => value.trim())
  .filter((value) => value.length > 6);
const REFERENCES = [
  ...Object.keys(ENV).map((name) => `\${${name}}`),
  ...Object.keys(FILES).map((path) => `\${file:${path}}`),
];
const ODDITIES: readonly unknown[] = [
  null,
  true,
  0,
  -1,
  1e308,
  NaN,
  '',
  ' ',
  '\u0000',
  '{',
  'x'.repeat(5000),
  [],
  {},
  [[]],
  { a: { b: [] } },
  { toString: 1, constructor: 2, hasOwnProperty: 3 },
  JSON.parse('{"__proto__": {"x": 1}}'),
  '2026-01-01',
  'http://[::1',
  '\ud800',
];

/** Only ConfigError may come out, and never a secret. */
function check(text: string): void {
  try {
    const { config, warnings } = loadConfig(text, { env: ENV, readFile });
    unsupportedSections(config);
    expect(SECRETS.filter((secret) => JSON.stringify(warnings).includes(secret))).toEqual([]);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw new Error(`not a ConfigError for:\n${text}`, { cause: error });
    const shown = error.format() + error.message + JSON.stringify(error.problems);
    expect(SECRETS.filter((secret) => shown.includes(secret))).toEqual([]);
    expect(error.problems.length).toBeGreaterThan(0);
  }
}

describe('whatever the file is', () => {
  it('only ConfigError is thrown for values in odd places, and no secret is shown', () => {
    const random = generator(1);
    const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
    const mutate = (value: unknown, rate: number): unknown => {
      if (random() < rate) return random() < 0.5 ? pick(REFERENCES) : pick(ODDITIES);
      if (Array.isArray(value)) return value.map((item) => mutate(item, rate));
      if (typeof value !== 'object' || value === null) return value;
      return Object.fromEntries(
        Object.entries(value).map(([key, item]) => [
          random() < rate / 2 ? `${key}x` : key,
          mutate(item, rate),
        ]),
      );
    };
    const complete = parse(completeYaml()) as unknown;
    for (let round = 0; round < 120; round++) check(stringify(mutate(complete, 0.002 * (1 + (round % 30)))));
  });

  it('only ConfigError is thrown for text that is damaged, and no secret is shown', () => {
    const random = generator(2);
    const text = completeYaml().replaceAll('an-older-secret-of-32-characters', SECRETS[0] as string);
    for (let round = 0; round < 150; round++) {
      const characters = [...text];
      for (let edit = 0; edit < 1 + (round % 8); edit++) {
        const at = Math.floor(random() * characters.length);
        characters.splice(
          at,
          random() < 0.5 ? 1 : 0,
          ...(random() < 0.6
            ? [...'{}[]:-"\'#&*!|>%@`\t\n ,?'].slice(Math.floor(random() * 22)).slice(0, 1)
            : []),
        );
      }
      check(characters.join(''));
    }
  });
});
