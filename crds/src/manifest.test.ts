import { describe, expect, it } from '@jest/globals';
import { readFileSync, readdirSync } from 'node:fs';
import { parseAllDocuments } from 'yaml';
import { API_VERSION } from './api.ts';
import { KINDS } from './definition.ts';
import { ManifestError, parseManifest } from './manifest.ts';
import { casesOf } from './testing/cases.ts';
import { SAMPLES } from './testing/samples.ts';

const manifest = (kind: string, spec: unknown, name = 'main') => ({
  apiVersion: API_VERSION,
  kind,
  metadata: { name, namespace: 'claude' },
  spec,
});

function problemsOf(document: unknown): readonly { path: string; message: string }[] {
  try {
    parseManifest(document);
    return [];
  } catch (error) {
    if (error instanceof ManifestError) return error.problems;
    throw error;
  }
}

const kinds = Object.keys(SAMPLES) as (keyof typeof SAMPLES)[];

describe.each(kinds)('a manifest of a %s', (kind) => {
  it.each([...SAMPLES[kind].entries()])('accepts sample %i', (_index, spec) => {
    expect(problemsOf(manifest(kind, spec))).toEqual([]);
  });

  it('is judged right on both sides of every bound and rule', () => {
    const accepts = (spec: unknown) => problemsOf(manifest(kind, spec)).length === 0;
    const cases = casesOf(kind, accepts);
    const wrong = cases.filter(({ spec, refused, says }) => {
      const problems = problemsOf(manifest(kind, spec));
      if (refused === undefined) return problems.length > 0;
      return !problems.some(
        ({ path, message }) => path === refused && (says === undefined || message === says),
      );
    });
    expect(wrong.map(({ name }) => name)).toEqual([]);
    expect(cases.length).toBeGreaterThan(30);
  }, 120_000);

  it('refuses fields that there are not', () => {
    const [spec] = SAMPLES[kind];
    expect(problemsOf(manifest(kind, { ...spec, nonsense: 1 }))).toEqual([
      { path: 'spec', message: expect.stringContaining('nonsense') },
    ]);
  });
});

describe('parseManifest', () => {
  it('fills in the defaults', () => {
    const [, organization] = SAMPLES.SpendPolicy;
    expect(parseManifest(manifest('SpendPolicy', organization))?.spec).toEqual({
      subject: { kind: 'Organization' },
      limits: [{ period: 'Monthly', usd: '0' }],
      enforcement: { mode: 'Strict', whenShort: 'ShrinkOutput' },
      timeZone: 'UTC',
    });
  });

  it('leaves other kinds of objects alone, and names the ones that there are', () => {
    expect(parseManifest({ apiVersion: 'v1', kind: 'Secret' })).toBeUndefined();
    expect(problemsOf({ apiVersion: API_VERSION, kind: 'SpendingPolicy' })).toEqual([
      { path: 'kind', message: 'must be one of ClaudeGateway, SpendPolicy, ManagedSettings' },
    ]);
  });

  it.each(['Main', '1main', 'main.corp', 'a'.repeat(51)])('refuses the name %s of a gateway', (name) => {
    const [, , least] = SAMPLES.ClaudeGateway;
    expect(problemsOf(manifest('ClaudeGateway', least, name)).map(({ path }) => path)).toContain(
      'metadata.name',
    );
  });
});

const examples = new URL('../../examples/', import.meta.url);

describe('examples/', () => {
  it.each(readdirSync(examples).filter((name) => name.endsWith('.yaml')))('%s is valid', (name) => {
    const documents = parseAllDocuments(readFileSync(new URL(name, examples), 'utf8'));
    expect(documents.length).toBeGreaterThan(0);
    for (const document of documents) expect(parseManifest(document.toJS())).toBeDefined();
  });

  it('show every kind', () => {
    const shown = readdirSync(examples)
      .filter((name) => name.endsWith('.yaml'))
      .flatMap((name) =>
        parseAllDocuments(readFileSync(new URL(name, examples), 'utf8')).map(
          (document) => (document.toJS() as { kind: string }).kind,
        ),
      );
    for (const { kind } of KINDS) expect(shown).toContain(kind);
  });
});
