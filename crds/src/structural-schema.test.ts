import { describe, expect, it } from '@jest/globals';
import { z } from 'zod';
import { NotStructuralError, toStructuralSchema, type KubernetesMeta } from './structural-schema.ts';

describe('toStructuralSchema', () => {
  it('keeps types, bounds, defaults, descriptions and what is required', () => {
    const schema = z.strictObject({
      replicas: z.number().int().min(1).max(100).default(2).describe('How many pods.'),
      className: z
        .string()
        .min(1)
        .max(63)
        .regex(/^[a-z]+$/)
        .optional(),
      ratio: z.number().gt(0).lt(1),
      mode: z.enum(['Strict', 'Bounded']).default('Strict'),
    });
    expect(toStructuralSchema(schema)).toEqual({
      type: 'object',
      required: ['ratio'],
      properties: {
        replicas: { type: 'integer', minimum: 1, maximum: 100, default: 2, description: 'How many pods.' },
        className: { type: 'string', minLength: 1, maxLength: 63, pattern: '^[a-z]+$' },
        ratio: { type: 'number', minimum: 0, exclusiveMinimum: true, maximum: 1, exclusiveMaximum: true },
        mode: { type: 'string', enum: ['Strict', 'Bounded'], default: 'Strict' },
      },
    });
  });

  it('has no bounds that only JavaScript needs', () => {
    expect(toStructuralSchema(z.int())).toEqual({ type: 'integer' });
  });

  it('says lists, maps, documents kept as written, literals and null', () => {
    const schema = z.object({
      groups: z.array(z.string()).max(10),
      labels: z.record(z.string(), z.string()),
      settings: z.record(z.string(), z.unknown()),
      kind: z.literal('User'),
      note: z.string().nullable(),
    });
    expect(toStructuralSchema(schema).properties).toEqual({
      groups: { type: 'array', items: { type: 'string' }, maxItems: 10 },
      labels: { type: 'object', additionalProperties: { type: 'string' } },
      settings: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true },
      kind: { type: 'string', enum: ['User'] },
      note: { type: 'string', nullable: true },
    });
  });

  it('carries CEL rules and list types', () => {
    const meta: KubernetesMeta = {
      'x-kubernetes-validations': [
        { rule: '!(has(self.a) && has(self.b))', message: 'set a or b, not both' },
      ],
    };
    const list: KubernetesMeta = { 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['name'] };
    const schema = z
      .object({
        a: z.string().optional(),
        b: z.string().optional(),
        items: z.array(z.object({ name: z.string() })).meta({ ...list }),
      })
      .meta({ ...meta });
    expect(toStructuralSchema(schema)).toMatchObject({ ...meta, properties: { items: list } });
  });

  it.each<[string, z.ZodType, string]>([
    [
      'a union of types',
      z.object({ a: z.union([z.string(), z.number()]) }),
      'spec.a: a field cannot have several types',
    ],
    [
      'a discriminated union',
      z.object({
        a: z.discriminatedUnion('k', [z.object({ k: z.literal('x') }), z.object({ k: z.literal('y') })]),
      }),
      'spec.a: "oneOf"',
    ],
    ['a tuple', z.object({ a: z.array(z.tuple([z.string(), z.number()])) }), 'spec.a[]: "prefixItems"'],
    ['anything at all', z.object({ a: z.unknown() }), 'spec.a: every field needs one type'],
    ['keys of a certain form', z.record(z.string().regex(/^a/), z.string()), 'spec: keys of a map'],
    [
      'a format that nobody checks',
      z.object({ a: z.string().meta({ format: 'shoe-size' }) }),
      'spec.a: the API server does not know',
    ],
  ])('refuses %s, naming the place', (_name, schema, message) => {
    expect(() => toStructuralSchema(schema)).toThrow(NotStructuralError);
    expect(() => toStructuralSchema(schema)).toThrow(message);
  });

  it('refuses what has no JSON form at all', () => {
    expect(() => toStructuralSchema(z.object({ at: z.date() }))).toThrow();
  });
});
