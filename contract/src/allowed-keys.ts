import { type JsonSchema, plainJsonSchema } from './json-schema.ts';
import type { Path } from './problem.ts';

let schema: JsonSchema | undefined;

/** The keys that may stand in the map at `path` of a document, for suggestions. Empty where any key may. */
export function allowedKeys(document: unknown, path: Path): readonly string[] {
  schema ??= plainJsonSchema();
  let candidates: readonly JsonSchema[] = [schema];
  let value = document;
  for (const part of path) {
    candidates = variants(candidates, value).flatMap((candidate) => child(candidate, part));
    value =
      typeof value === 'object' && value !== null
        ? (value as Record<string | number, unknown>)[part]
        : undefined;
  }
  const keys = variants(candidates, value).flatMap(({ properties }) => Object.keys(properties ?? {}));
  return [...new Set(keys)];
}

/** The forms of a union; of a discriminated one, those whose constants the value has. */
function variants(schemas: readonly JsonSchema[], value: unknown): readonly JsonSchema[] {
  const all = schemas.flatMap((one): readonly JsonSchema[] => {
    const forms = one.anyOf ?? one.oneOf;
    return forms === undefined ? [one] : variants(forms, value);
  });
  if (typeof value !== 'object' || value === null) return all;
  const fitting = all.filter(({ properties }) =>
    Object.entries(properties ?? {}).every(
      ([key, property]) =>
        typeof property.const !== 'string' || (value as Record<string, unknown>)[key] === property.const,
    ),
  );
  return fitting.length > 0 ? fitting : all;
}

function child(schema: JsonSchema, part: string | number): readonly JsonSchema[] {
  if (typeof part === 'number') return schema.items === undefined ? [] : [schema.items];
  const { properties, additionalProperties } = schema;
  if (properties !== undefined && Object.hasOwn(properties, part)) return [properties[part] as JsonSchema];
  return typeof additionalProperties === 'object' ? [additionalProperties] : [];
}
