import { describe, expect, it } from '@jest/globals';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse, stringify } from 'yaml';
import { CHART } from './helm.ts';

interface Schema {
  readonly description?: string;
  readonly additionalProperties?: unknown;
  readonly properties?: Readonly<Record<string, Schema>>;
}

interface Value {
  readonly path: string;
  readonly value: unknown;
  readonly schema: Schema | undefined;
}

const schema = JSON.parse(readFileSync(join(CHART, 'values.schema.json'), 'utf8')) as Schema;
const values = parse(readFileSync(join(CHART, 'values.yaml'), 'utf8')) as Record<string, unknown>;
const readme = join(CHART, 'README.md');

/** Values whose fields the schema does not name are whole: their default is one document. */
function leaves(value: unknown, of: Schema | undefined, path = ''): readonly Value[] {
  const { properties } = of ?? {};
  const whole =
    typeof value !== 'object' || value === null || Array.isArray(value) || properties === undefined;
  if (whole || path.endsWith('resources')) return [{ path, value, schema: of }];
  return Object.entries(value).flatMap(([key, inner]) =>
    leaves(inner, properties[key], path === '' ? key : `${path}.${key}`),
  );
}

/** Fields of the schema, in the same form. */
function described(of: Schema, path = ''): readonly string[] {
  const { properties } = of;
  if (properties === undefined || path.endsWith('resources')) return [path];
  return Object.entries(properties).flatMap(([key, inner]) =>
    described(inner, path === '' ? key : `${path}.${key}`),
  );
}

/** Defaults as YAML, without what is in values that are whole: what is removed from them stays removed. */
function structure(value: unknown, of: Schema | undefined, path = ''): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  const { properties } = of ?? {};
  if (properties === undefined || path === 'resources') return {};
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [key, structure(inner, properties[key], key)]),
  );
}

const defaults = `{{/* Written from values.yaml: UPDATE_GOLDEN=1 hack/test.sh e2e/src/chart/values. See cg.fillIn. */}}
{{- define "cg.defaults" -}}
${stringify(structure(values, schema))}{{- end }}
`;

const all = leaves(values, schema);
const cell = (text: string): string => text.replaceAll('|', '\\|');

const table = [
  '| Value | Default | What for |',
  '| --- | --- | --- |',
  ...all.map(
    ({ path, value, schema: of }) =>
      `| \`${path}\` | \`${cell(JSON.stringify(value))}\` | ${cell(of?.description ?? '')} |`,
  ),
].join('\n');

describe('the values of the chart', () => {
  it('are those of the schema, and no others', () => {
    // Helm gives `global` to every chart.
    const known = described(schema).filter((path) => path !== 'global');
    expect(all.map(({ path }) => path).toSorted()).toEqual(known.toSorted());
  });

  it('are described, each', () => {
    expect(all.filter(({ schema: of }) => !of?.description).map(({ path }) => path)).toEqual([]);
  });

  it('admit no fields beside, where fields are named', () => {
    const open = (of: Schema, path: string): readonly string[] => [
      ...(of.properties !== undefined && of.additionalProperties !== false ? [path] : []),
      ...Object.entries(of.properties ?? {}).flatMap(([key, inner]) => open(inner, `${path}.${key}`)),
    ];
    expect(open(schema, '')).toEqual([]);
  });

  it('are in the template that fills in what is missing', () => {
    const file = join(CHART, 'templates', '_defaults.tpl');
    if (process.env['UPDATE_GOLDEN'] === '1') writeFileSync(file, defaults);
    expect(readFileSync(file, 'utf8')).toBe(defaults);
  });

  it('are in the table of the README', () => {
    const text = readFileSync(readme, 'utf8');
    const [begin, end] = ['<!-- values: begin -->\n', '\n<!-- values: end -->'];
    const [from, to] = [text.indexOf(begin) + begin.length, text.indexOf(end)];
    // UPDATE_GOLDEN=1 writes what is compared otherwise.
    if (process.env['UPDATE_GOLDEN'] === '1')
      writeFileSync(readme, text.slice(0, from) + table + text.slice(to));
    expect(readFileSync(readme, 'utf8')).toContain(`${begin}${table}${end}`);
  });
});
