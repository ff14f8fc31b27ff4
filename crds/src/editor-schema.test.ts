import { readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import { KINDS } from './definition.ts';
import { editorSchema, manifestsSchema } from './editor-schema.ts';

interface Schema {
  readonly additionalProperties?: unknown;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly const?: unknown;
}

const root = new URL('../../', import.meta.url);

describe('schemas for editors', () => {
  it.each(KINDS.map((kind) => [kind.kind, kind] as const))(
    'of %s say its kind and refuse unknown fields',
    (name, kind) => {
      const schema = editorSchema(kind) as Schema;
      expect(schema.properties?.['kind']?.const).toBe(name);
      expect(schema.additionalProperties).toBe(false);
      expect(schema.properties?.['spec']?.additionalProperties).toBe(false);
      expect(schema.properties?.['metadata']?.additionalProperties).toBeUndefined();
      expect(JSON.stringify(schema)).not.toContain('x-kubernetes-');
    },
  );

  it('leave open what the API server leaves open', () => {
    const settings = KINDS.find(({ kind }) => kind === 'ManagedSettings');
    if (settings === undefined) throw new Error('there is no such kind');
    const { properties } = (editorSchema(settings) as Schema).properties?.['spec'] ?? {};
    expect(properties?.['settings']?.additionalProperties).not.toBe(false);
  });

  it('are chosen by kind, so that a file may have several', () => {
    expect(JSON.stringify(manifestsSchema(KINDS))).toContain('spendpolicy.json');
  });

  it.each(['gateway', 'managed-settings', 'spend-policies', 'clouds/aks', 'clouds/eks', 'clouds/gke'])(
    'are named by examples/%s.yaml',
    (name) => {
      const file = new URL(`examples/${name}.yaml`, root);
      const [, path = ''] =
        /^# yaml-language-server: \$schema=(\S+)\n/.exec(readFileSync(file, 'utf8')) ?? [];
      expect(JSON.parse(readFileSync(new URL(path, file), 'utf8'))).toEqual(manifestsSchema(KINDS));
    },
  );
});
