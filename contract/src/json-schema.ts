import { z } from 'zod';
import { gatewayConfigSchema } from './schema/gateway-config.ts';

/** A JSON Schema, as far as this package reads it. */
export interface JsonSchema {
  readonly $schema?: string;
  readonly type?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: boolean | JsonSchema;
  readonly items?: JsonSchema;
  readonly anyOf?: readonly JsonSchema[];
  readonly oneOf?: readonly JsonSchema[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly exclusiveMinimum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly pattern?: string;
  readonly format?: string;
}

type Mutable = { -readonly [Key in keyof JsonSchema]: JsonSchema[Key] } & Record<string, unknown>;

/** The schema of the file itself, without references. */
export function plainJsonSchema(): JsonSchema {
  const schema = z.toJSONSchema(gatewayConfigSchema, {
    target: 'draft-2020-12',
    io: 'input',
    reused: 'inline',
    override: ({ jsonSchema }) => tidy(jsonSchema as Mutable),
  }) as Mutable;
  // Its absence is judged together with cri, and every ordinary file has it.
  schema.required = ['listen', 'oidc', 'session', 'store', 'upstreams'];
  return schema;
}

/** Safe-integer bounds say nothing; empty defaults of sections neither. */
function tidy(schema: Mutable): void {
  if (schema.maximum === Number.MAX_SAFE_INTEGER) delete schema.maximum;
  if (schema.minimum === Number.MIN_SAFE_INTEGER) delete schema.minimum;
}

const REFERENCE: JsonSchema = {
  type: 'string',
  pattern: '\\$\\{',
  description: 'A reference: ${VAR} or ${file:/path}.',
};

/**
 * JSON Schema (draft 2020-12) of gateway.yaml for editors: put
 * `# yaml-language-server: $schema=gateway.schema.json` at the top of the file. Where a value is no free text, a
 * reference such as `${PORT}` is allowed too.
 */
export function jsonSchema(): object {
  return allowReferences(plainJsonSchema());
}

/** Any string, so that a reference fits anyway. */
function isFreeText({ type, minLength = 0, pattern, format, enum: choices }: JsonSchema): boolean {
  return type === 'string' && minLength <= 1 && pattern === undefined && format === undefined && !choices;
}

function allowReferences(schema: JsonSchema): JsonSchema {
  const { properties, items, additionalProperties, anyOf, oneOf } = schema;
  const copy: Mutable = { ...schema };
  if (properties !== undefined) {
    copy.properties = Object.fromEntries(
      Object.entries(properties).map(([key, value]) => [key, allowReferences(value)]),
    );
  }
  if (items !== undefined) copy.items = allowReferences(items);
  if (typeof additionalProperties === 'object')
    copy.additionalProperties = allowReferences(additionalProperties);
  if (anyOf !== undefined) copy.anyOf = anyOf.map(allowReferences);
  if (oneOf !== undefined) copy.oneOf = oneOf.map(allowReferences);

  const isScalar = ['string', 'number', 'integer', 'boolean'].includes(schema.type ?? '');
  // The discriminator of a union stays as it is, so that editors can tell the forms apart.
  if (!isScalar || isFreeText(schema) || schema.const !== undefined) return copy;
  const { description, default: fallback, ...rest } = copy;
  return {
    ...(description === undefined ? {} : { description }),
    ...(fallback === undefined ? {} : { default: fallback }),
    anyOf: [rest, REFERENCE],
  };
}
