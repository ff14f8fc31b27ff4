import { API_GROUP, API_VERSION_NAME } from './api.ts';
import { schemaOf } from './definition.ts';
import type { ResourceKind } from './kind.ts';

/** A JSON Schema. */
export type EditorSchema = Readonly<Record<string, unknown>>;

const DRAFT = 'http://json-schema.org/draft-07/schema#';

/**
 * What editors complete and check manifests of a kind with (`# yaml-language-server: $schema=…`): the schema of the
 * definition, which refuses unknown fields as `kubectl apply` does. Rules in CEL are not in it.
 */
export function editorSchema(kind: ResourceKind): EditorSchema {
  const { properties = {}, ...rest } = schemaOf(kind);
  const schema = {
    ...rest,
    required: ['apiVersion', 'kind', 'metadata', 'spec'],
    properties: {
      ...properties,
      apiVersion: { const: `${API_GROUP}/${API_VERSION_NAME}` },
      kind: { const: kind.kind },
    },
  };
  return { $schema: DRAFT, ...(closed(schema) as EditorSchema) };
}

/** A file with manifests of all kinds; whatever else is in it is left alone. */
export function manifestsSchema(kinds: readonly ResourceKind[]): EditorSchema {
  return {
    $schema: DRAFT,
    allOf: kinds.map((kind) => ({
      if: { required: ['kind'], properties: { kind: { const: kind.kind } } },
      then: { $ref: `${kind.singular}.json` },
    })),
  };
}

/** Without the extensions of Kubernetes, and with unknown fields refused where the API server knows all of them. */
function closed(schema: unknown, isMap = false): unknown {
  if (Array.isArray(schema)) return schema.map((item) => closed(item));
  if (typeof schema !== 'object' || schema === null) return schema;
  const fields = Object.entries(schema);
  const kept = fields.filter(([key]) => isMap || !key.startsWith('x-kubernetes-'));
  const result = Object.fromEntries(
    kept.map(([key, value]) => [
      key,
      !isMap && ['default', 'enum', 'const'].includes(key)
        ? (value as unknown)
        : closed(value, key === 'properties'),
    ]),
  );
  if (isMap) return result;
  const all = schema as Readonly<Record<string, unknown>>;
  const isOpen =
    all['x-kubernetes-preserve-unknown-fields'] === true || all['additionalProperties'] !== undefined;
  if (all['x-kubernetes-int-or-string'] === true) result['type'] = ['integer', 'string'];
  if (all['properties'] !== undefined && !isOpen) result['additionalProperties'] = false;
  return result;
}
