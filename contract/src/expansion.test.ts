import { describe, expect, it } from '@jest/globals';
import { expandReferences, referencesIn, pathKey } from './expansion.ts';

const source = {
  env: { A: 'one', B_2: 'two', EMPTY: '', NESTED: '${A}' },
  readFile: (path: string) => {
    if (path === '/f') return ' content\n';
    throw Object.assign(new Error('no'), { code: 'EACCES' });
  },
};
const expand = (value: unknown) => expandReferences(value, source);

describe('expandReferences', () => {
  it.each([
    ['${A}', 'one'],
    ['${A}-${B_2}${A}', 'one-twoone'],
    ['Bearer ${file:/f}', 'Bearer content'],
    ['${EMPTY}', ''],
    // A value is not expanded again; there is no escape, and no other shell syntax.
    ['${NESTED}', '${A}'],
    ['$${A}', '$one'],
    ['$A ${} ${a-b} ${ A } ${A:-x} ${file:} ${A', '$A ${} ${a-b} ${ A } ${A:-x} ${file:} ${A'],
  ])('%s is %s', (text, expected) => {
    const { value, problems } = expand(text);
    expect(value).toBe(expected);
    expect(problems).toEqual([]);
  });

  it('goes through lists and maps, leaves keys and other scalars alone, and does not touch its argument', () => {
    const document = { '${A}': [1, null, true, { x: '${A}' }], __proto__: null };
    const copy = structuredClone(document);
    expect(expand(document).value).toEqual({ '${A}': [1, null, true, { x: 'one' }] });
    expect(document).toEqual(copy);
  });

  it('says which scalars held references, and which are whole ones', () => {
    const { origins, values } = expand({ a: '${A}', b: ['x${A}'], c: 'x' });
    expect(origins.get(pathKey(['a']))).toBe('whole');
    expect(origins.get(pathKey(['b', 0]))).toBe('part');
    expect(origins.has(pathKey(['c']))).toBe(false);
    expect(values).toEqual(new Set(['one']));
  });

  it('collects every problem with its path', () => {
    expect(expand({ a: '${X} ${file:/g}', b: ['${file:f}', '${toString}'] }).problems).toEqual([
      { path: ['a'], message: 'the environment variable X is not set' },
      { path: ['a'], message: 'cannot read the file /g (EACCES)' },
      { path: ['b', 0], message: 'the path in ${file:f} must be absolute' },
      { path: ['b', 1], message: 'the environment variable toString is not set' },
    ]);
  });

  it('notices what looks like a reference and is none', () => {
    expect(expand({ a: '${A:-x}', b: '${A}', c: 'costs $5' }).leftovers).toEqual([['a']]);
  });

  it('keeps a key called __proto__ a key', () => {
    const document = JSON.parse('{"__proto__": {"polluted": "${A}"}}') as unknown;
    const { value } = expand(document);
    expect(Object.keys(value as object)).toEqual(['__proto__']);
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
  });
});

it('finds the references in a text, and nothing else', () => {
  expect(referencesIn('a ${B} ${file:/c d} ${C')).toEqual(['${B}', '${file:/c d}']);
  expect(referencesIn('$ $B {C} ${D:-e} ${}')).toEqual([]);
});
