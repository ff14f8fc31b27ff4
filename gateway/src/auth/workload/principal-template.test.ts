import { describe, expect, it } from '@jest/globals';
import { compileTemplate, UnusableClaim } from './principal-template.ts';

describe('compileTemplate', () => {
  it.each<[string, Record<string, unknown>, string]>([
    ['ci', {}, 'ci'],
    ['ci:{repository}', { repository: 'acme/web' }, 'ci:acme/web'],
    ['{repository}:{environment}', { repository: 'acme/web', environment: 'a:b' }, 'acme/web:a:b'],
    ['{sub}', { sub: 'system:serviceaccount:builds:runner' }, 'system:serviceaccount:builds:runner'],
    ['{/kubernetes.io/namespace}', { 'kubernetes.io': { namespace: 'builds' } }, 'builds'],
    ['{https://corp.example/team}', { 'https://corp.example/team': 'web' }, 'web'],
    ['run {run_id}', { run_id: 7 }, 'run 7'],
    ['{protected}', { protected: true }, 'true'],
  ])('%j', (template, claims, text) => {
    expect(compileTemplate(template)(claims)).toBe(text);
  });

  it('never renders two tokens to the same text', () => {
    const render = compileTemplate('{a}:{b}');
    const values = ['', ':', '%', '%3A', 'x', 'x:y', 'x%3Ay', 'x:', ':x', '%25'].filter(
      (value) => value !== '',
    );
    const texts = values.flatMap((a) => values.map((b) => render({ a, b })));
    expect(new Set(texts).size).toBe(values.length ** 2);
  });

  it.each<[string, unknown]>([
    ['missing', undefined],
    ['null', null],
    ['empty', ''],
    ['a list', ['x']],
    ['an object', { x: 1 }],
    ['with a line break', 'a\nb'],
    ['with a NUL', 'a\u0000'],
    ['half a surrogate pair', 'a\ud800'],
    ['endless', 'x'.repeat(300)],
  ])('refuses a claim that is %s', (_what, value) => {
    expect(() => compileTemplate('ci:{claim}')({ claim: value })).toThrow(UnusableClaim);
  });

  it('reads own claims only', () => {
    expect(() => compileTemplate('{constructor}')({})).toThrow(UnusableClaim);
    expect(() => compileTemplate('{/__proto__/x}')({})).toThrow(UnusableClaim);
  });

  it.each(['{', '}', 'a}', '{a', '{a}}', '{}', '{/}', '{a}{b}', 'x{a}{b}'])(
    'refuses the template %j',
    (template) => {
      expect(() => compileTemplate(template)).toThrow();
    },
  );
});
