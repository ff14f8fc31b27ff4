import { z } from 'zod';

/** A rule that the API server evaluates. Source: https://kubernetes.io/docs/reference/using-api/cel/ */
export interface ValidationRule {
  /** CEL, over `self` (and `oldSelf` for transitions). */
  readonly rule: string;
  /** What a person reads when it is broken: name the remedy. */
  readonly message: string;
  readonly fieldPath?: string;
}

/** What `.meta()` of a zod schema can add that zod itself cannot say. */
export interface KubernetesMeta {
  readonly 'x-kubernetes-validations'?: readonly ValidationRule[];
  readonly 'x-kubernetes-list-type'?: 'atomic' | 'set' | 'map';
  readonly 'x-kubernetes-list-map-keys'?: readonly string[];
  readonly 'x-kubernetes-map-type'?: 'atomic' | 'granular';
  readonly 'x-kubernetes-preserve-unknown-fields'?: true;
  readonly 'x-kubernetes-int-or-string'?: true;
}

/** A structural schema of a CustomResourceDefinition: a subset of OpenAPI v3. */
export interface StructuralSchema extends KubernetesMeta {
  readonly type?: 'object' | 'array' | 'string' | 'integer' | 'number' | 'boolean';
  readonly nullable?: true;
  readonly properties?: Readonly<Record<string, StructuralSchema>>;
  readonly additionalProperties?: StructuralSchema;
  readonly items?: StructuralSchema;
  readonly description?: string;
  readonly required?: readonly string[];
  readonly enum?: readonly unknown[];
  readonly default?: unknown;
  readonly format?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly minProperties?: number;
  readonly maxProperties?: number;
  readonly [keyword: string]: unknown;
}

/** A zod schema says something that a structural schema cannot. Names the path, so that the source can be mended. */
export class NotStructuralError extends Error {
  override readonly name = 'NotStructuralError';

  constructor(path: string, reason: string) {
    super(`${path}: ${reason}`);
  }
}

/** Keywords that mean the same in JSON Schema and in structural schemas. */
const KEPT = new Set([
  'type', 'description', 'default', 'enum', 'pattern', 'minLength', 'maxLength', 'minimum', 'maximum', 'multipleOf',
  'minItems', 'maxItems', 'uniqueItems', 'minProperties', 'maxProperties', 'required',
]); // prettier-ignore

/** The formats that the API server checks. Source: https://github.com/kubernetes/kube-openapi (validation/strfmt) */
const FORMATS = new Set([
  'date-time',
  'date',
  'duration',
  'uri',
  'email',
  'hostname',
  'ipv4',
  'ipv6',
  'cidr',
  'uuid',
  'byte',
]);

const SAFE_INTEGER = new Set<unknown>([Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER]);

type Json = Readonly<Record<string, unknown>>;

/**
 * Turns a zod schema into the structural schema of a CustomResourceDefinition: what people may write, defaults included.
 * Rules for the result: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#specifying-a-structural-schema
 *
 * @param root What error messages call the schema, such as `spec`.
 * @throws NotStructuralError for unions, tuples, references, exact objects and everything else that would be lost.
 */
export function toStructuralSchema(schema: z.ZodType, root = 'spec'): StructuralSchema {
  const json = z.toJSONSchema(schema, {
    target: 'draft-2020-12',
    io: 'input',
    reused: 'inline',
    cycles: 'throw',
    unrepresentable: 'throw',
  });
  return convert(Object.fromEntries(Object.entries(json).filter(([keyword]) => keyword !== '$schema')), root);
}

function convert(schema: Json, path: string): StructuralSchema {
  const nullable = nullableVariant(schema);
  if (nullable !== undefined) return { ...convert(nullable, path), nullable: true };
  const result: Record<string, unknown> = {};
  for (const [keyword, value] of Object.entries(schema)) {
    if (keyword.startsWith('x-kubernetes-') || KEPT.has(keyword)) {
      if (!isImpliedBound(keyword, value)) result[keyword] = value;
      continue;
    }
    switch (keyword) {
      case 'properties':
        result['properties'] = mapValues(value as Record<string, Json>, (property, name) =>
          convert(property, `${path}.${name}`),
        );
        break;
      case 'items':
        result['items'] = convert(value as Json, `${path}[]`);
        break;
      case 'additionalProperties':
        // Unknown fields are pruned or, with strict validation, refused by the API server: `false` goes without saying.
        if (value !== false) Object.assign(result, additional(value as Json, path));
        break;
      case 'propertyNames':
        if (Object.keys(value as Json).some((key) => key !== 'type')) {
          throw new NotStructuralError(
            path,
            'keys of a map cannot be restricted; use a CEL rule over self.all(key, …)',
          );
        }
        break;
      case 'const':
        result['enum'] = [value];
        break;
      case 'exclusiveMinimum':
        Object.assign(result, { minimum: value, exclusiveMinimum: true });
        break;
      case 'exclusiveMaximum':
        Object.assign(result, { maximum: value, exclusiveMaximum: true });
        break;
      case 'format':
        if (!FORMATS.has(String(value)))
          throw new NotStructuralError(
            path,
            `the API server does not know the format "${String(value)}"; use a pattern`,
          );
        result['format'] = value;
        break;
      default:
        throw new NotStructuralError(path, `"${keyword}" cannot be said in a structural schema`);
    }
  }
  requireType(result, path);
  return result;
}

function additional(value: Json, path: string): StructuralSchema {
  // z.record(z.string(), z.unknown()) and loose objects: kept as written.
  if (Object.keys(value).length === 0) return { 'x-kubernetes-preserve-unknown-fields': true };
  return { additionalProperties: convert(value, `${path}.*`) };
}

/** `T | null` is the one union that has a structural form. */
function nullableVariant(schema: Json): Json | undefined {
  const { anyOf, type, ...rest } = schema;
  if (Array.isArray(type)) {
    const [only, ...more] = type.filter((name) => name !== 'null') as string[];
    return type.length === 2 && more.length === 0 ? { ...rest, type: only } : undefined;
  }
  if (!Array.isArray(anyOf)) return undefined;
  const variants = anyOf as Json[];
  const others = variants.filter(({ type }) => type !== 'null');
  const [only] = others;
  return variants.length === 2 && others.length === 1 ? { ...only, ...rest } : undefined;
}

function isImpliedBound(keyword: string, value: unknown): boolean {
  return (keyword === 'minimum' || keyword === 'maximum') && SAFE_INTEGER.has(value);
}

function requireType(result: Record<string, unknown>, path: string): void {
  if (typeof result['type'] === 'string') return;
  if (Array.isArray(result['type'])) throw new NotStructuralError(path, 'a field cannot have several types');
  if (
    result['x-kubernetes-int-or-string'] === true ||
    result['x-kubernetes-preserve-unknown-fields'] === true
  )
    return;
  const [first] = (result['enum'] as unknown[] | undefined) ?? [];
  if (first === undefined || first === null) throw new NotStructuralError(path, 'every field needs one type');
  result['type'] = typeof first;
}

function mapValues<T, R>(
  record: Readonly<Record<string, T>>,
  map: (value: T, key: string) => R,
): Record<string, R> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, map(value, key)]));
}
