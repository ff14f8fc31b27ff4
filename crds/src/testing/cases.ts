import { KINDS, schemaOf } from '../definition.ts';
import type { StructuralSchema, ValidationRule } from '../structural-schema.ts';
import { BREAKERS, KEEPERS } from './breakers.ts';
import { SAMPLES } from './samples.ts';

/** One example that an API server judges. */
export interface Case {
  readonly kind: string;
  readonly name: string;
  readonly spec: unknown;
  /** The field that is refused, such as `spec.limits[0].usd`; accepted when left out. */
  readonly refused?: string;
  /** What the refusal says among others. */
  readonly says?: string;
}

/** A place in a schema: names of fields, `[]` for entries of a list, `*` for values of a map. */
type SchemaPath = readonly string[];
type Path = readonly (string | number)[];

interface Place {
  readonly schemaPath: SchemaPath;
  readonly schema: StructuralSchema;
}

/** For every bound, choice, required field and rule of a kind, examples on both sides of it. */
export function casesOf(kind: keyof typeof SAMPLES, accepts: (spec: unknown) => boolean): Case[] {
  const definition = KINDS.find((one) => one.kind === kind);
  const spec = definition === undefined ? undefined : schemaOf(definition).properties?.['spec'];
  if (spec === undefined) throw new Error(`there is no kind ${kind}`);
  return [...places(spec, [])].flatMap((place) => casesAt(kind, place, accepts));
}

function* places(schema: StructuralSchema, schemaPath: SchemaPath): Iterable<Place> {
  yield { schemaPath, schema };
  for (const [name, property] of Object.entries(schema.properties ?? {}))
    yield* places(property, [...schemaPath, name]);
  if (schema.items !== undefined) yield* places(schema.items, [...schemaPath, '[]']);
  if (schema.additionalProperties !== undefined)
    yield* places(schema.additionalProperties, [...schemaPath, '*']);
}

interface Spot {
  readonly sample: unknown;
  readonly path: Path;
  readonly value: unknown;
}

function casesAt(kind: keyof typeof SAMPLES, place: Place, accepts: (spec: unknown) => boolean): Case[] {
  const spot = findSpot(SAMPLES[kind], place.schemaPath);
  const { schema } = place;
  const at = fieldOf(spot.path);
  const make = (what: string, value: unknown, refused?: string, says?: string): Case => ({
    kind,
    name: `${at}: ${what}`,
    spec: replaced(spot.sample, spot.path, value),
    ...(refused === undefined ? {} : { refused }),
    ...(says === undefined ? {} : { says }),
  });
  const refusals = [
    ...bounds(schema, spot.value).map(([what, value]) => make(what, value, at)),
    ...duplicates(schema, spot.value).map(([what, value]) => make(what, value, `${at}[1]`)),
    ...(schema.required ?? []).map((name) =>
      make(`without ${name}`, without(spot.value, name), `${at}.${name}`),
    ),
    ...(schema['x-kubernetes-validations'] ?? []).flatMap((rule) => broken(rule, at, spot.value, make)),
  ];
  const acceptances = atBounds(schema, spot.value)
    .map(([what, values]) => values.map((value) => make(what, value)).find(({ spec }) => accepts(spec)))
    .filter((one) => one !== undefined);
  const kept = (schema['x-kubernetes-validations'] ?? [])
    .flatMap(({ message }) => KEEPERS[message] ?? [])
    .map((value) => make(`the text ${value}`, value))
    // Of several rules of one field, another may be narrower.
    .filter(({ spec }) => accepts(spec));
  return [...refusals, ...acceptances, ...kept];
}

function broken(
  { rule, message, fieldPath = '' }: ValidationRule,
  at: string,
  value: unknown,
  make: (what: string, value: unknown, refused?: string, says?: string) => Case,
): Case[] {
  const breakers = BREAKERS[message];
  if (breakers === undefined)
    throw new Error(`${at} has a rule that no example breaks: ${rule} (${message})`);
  return breakers.map((breaks, index) =>
    make(`breaks rule "${message}" (${index + 1})`, breaks(value), `${at}${fieldPath}`, message),
  );
}

type Named = readonly [string, unknown];

/** One step outside of every bound. */
function bounds(schema: StructuralSchema, value: unknown): Named[] {
  const {
    enum: choices,
    minLength,
    maxLength,
    minimum,
    maximum,
    minItems,
    maxItems,
    minProperties,
    maxProperties,
  } = schema;
  const list: Named[] = [];
  if (choices !== undefined) list.push(['another choice', 'Nonsense']);
  if (minLength !== undefined && minLength > 0) list.push(['too short', 'a'.repeat(minLength - 1)]);
  if (maxLength !== undefined && schema.type === 'string') list.push(['too long', 'a'.repeat(maxLength + 1)]);
  if (minimum !== undefined) list.push(['too small', minimum - 1]);
  if (maximum !== undefined) list.push(['too large', maximum + 1]);
  if (minItems !== undefined) list.push(['too few entries', []]);
  if (maxItems !== undefined) list.push(['too many entries', distinct(value, maxItems + 1)]);
  if (minProperties !== undefined) list.push(['too few entries', {}]);
  if (maxProperties !== undefined) list.push(['too many entries', manyOf(value, maxProperties + 1)]);
  return list;
}

function duplicates(schema: StructuralSchema, value: unknown): Named[] {
  const type = schema['x-kubernetes-list-type'];
  if (type !== 'set' && type !== 'map') return [];
  const [first] = value as unknown[];
  return [['the same entry twice', [first, structuredClone(first)]]];
}

/** Just inside of every bound; of several candidates the first that suits the format of the field. */
function atBounds(schema: StructuralSchema, value: unknown): [string, unknown[]][] {
  const { enum: choices, maxLength, minimum, maximum, maxItems, maxProperties } = schema;
  const list: [string, unknown[]][] = [];
  for (const choice of choices ?? []) list.push([`the choice ${String(choice)}`, [choice]]);
  if (maxLength !== undefined && schema.type === 'string')
    list.push(['as long as can be', longTexts(maxLength)]);
  if (minimum !== undefined) list.push(['as small as can be', [minimum]]);
  if (maximum !== undefined) list.push(['as large as can be', [maximum]]);
  if (maxItems !== undefined) list.push(['as many entries as can be', [distinct(value, maxItems)]]);
  if (maxProperties !== undefined) list.push(['as many entries as can be', [manyOf(value, maxProperties)]]);
  return list;
}

function longTexts(length: number): string[] {
  const starts = [
    '',
    'https://a/',
    'https://',
    'https://a/.well-known/',
    'postgres://',
    '/',
    'a@',
    'arn:aws:iam::123456789012:role/',
  ];
  return starts.filter((start) => start.length < length).map((start) => start.padEnd(length, 'a'));
}

/** Entries that differ, as far as their kind allows. */
function distinct(value: unknown, count: number): unknown[] {
  const [first] = value as unknown[];
  return Array.from({ length: count }, (_, index) => variant(first, index));
}

function variant(value: unknown, index: number): unknown {
  if (typeof value === 'number') return index + 1;
  if (typeof value === 'string') {
    if (/^[0-9.]+\/[0-9]+$/.test(value)) return `10.1.${index >> 8}.${index & 255}`;
    return /^[0-9]+$/.test(value) ? value : `${value}${index}`;
  }
  const entry = value as Record<string, unknown>;
  const changed = ['name', 'id', 'model'].filter((key) => typeof entry[key] === 'string');
  return { ...entry, ...Object.fromEntries(changed.map((key) => [key, `${String(entry[key])}${index}`])) };
}

function manyOf(value: unknown, count: number): Record<string, unknown> {
  const [[name, first] = ['name', '']] = Object.entries(value as object);
  return Object.fromEntries(Array.from({ length: count }, (_, index) => [`${name}${index}`, first]));
}

function findSpot(samples: readonly unknown[], schemaPath: SchemaPath): Spot {
  for (const sample of samples) {
    const found = follow(sample, schemaPath, []);
    if (found !== undefined) return { sample, ...found };
  }
  throw new Error(`no sample sets ${schemaPath.join('.')}: add it to one`);
}

function follow(value: unknown, [step, ...rest]: SchemaPath, path: Path): Omit<Spot, 'sample'> | undefined {
  if (value === undefined) return undefined;
  if (step === undefined) return { path, value };
  if (typeof value !== 'object' || value === null) return undefined;
  const keys: (string | number)[] = Array.isArray(value)
    ? [...value.keys()]
    : step === '*'
      ? Object.keys(value)
      : [step];
  for (const key of keys) {
    const found = follow((value as Record<string | number, unknown>)[key], rest, [...path, key]);
    if (found !== undefined) return found;
  }
  return undefined;
}

function replaced(value: unknown, [step, ...rest]: Path, by: unknown): unknown {
  if (step === undefined) return by;
  const copy = structuredClone(value) as Record<string | number, unknown>;
  copy[step] = replaced(copy[step], rest, by);
  return copy;
}

function without(value: unknown, name: string): unknown {
  return Object.fromEntries(Object.entries(value as object).filter(([key]) => key !== name));
}

/** A path as the API server writes it. */
export function fieldOf(path: readonly PropertyKey[]): string {
  return `spec${path.map((step) => (typeof step === 'number' ? `[${step}]` : `.${String(step)}`)).join('')}`;
}
