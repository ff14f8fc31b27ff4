import { API_VERSION } from './api.ts';
import { schemaOf } from './definition.ts';
import type { ResourceKind } from './kind.ts';
import type { StructuralSchema, ValidationRule } from './structural-schema.ts';

const PREAMBLE = `# Custom resources

<!-- Generated from crds/src by crds/src/generate.ts; edit the schemas and run it again. -->

\`${API_VERSION}\`: every field of every kind, as \`kubectl explain\` has them too. All kinds are namespaced and refer to objects
of their own namespace only. Fields with a default may be left out; the API server fills them in, so that
\`kubectl get -o yaml\` shows what is in force. [gateway.yaml](gateway-yaml.md) is what a ClaudeGateway becomes.
`;

interface Row {
  readonly path: string;
  readonly schema: StructuralSchema;
  readonly required: boolean;
}

/** docs/reference/custom-resources.md. */
export function renderReference(kinds: readonly ResourceKind[]): string {
  return [PREAMBLE, ...kinds.map(renderKind)].join('\n');
}

function renderKind(kind: ResourceKind): string {
  const schema = schemaOf(kind);
  const { spec, status } = schema.properties ?? {};
  const lines = [
    `## ${kind.kind}`,
    '',
    `${kind.description} Short name: ${kind.shortNames.map((name) => `\`${name}\``).join(', ')}; category: \`claude\`.`,
    '',
    ...table(rowsOf(schema.properties?.['spec'] ?? {}, 'spec')),
    ...rulesOf([...rules('metadata.name', schema), ...allRules(spec, 'spec')]),
    `### Status of a ${kind.kind}`,
    '',
    ...table(rowsOf(status ?? {}, 'status')),
  ];
  return lines.join('\n');
}

function rowsOf(schema: StructuralSchema, path: string): Row[] {
  const required = new Set(schema.required ?? []);
  return Object.entries(schema.properties ?? {}).flatMap(([name, property]) => {
    const here = `${path}.${name}`;
    const row = { path: here, schema: property, required: required.has(name) };
    return [row, ...rowsOf(inner(property), `${here}${suffix(property)}`)];
  });
}

const suffix = (schema: StructuralSchema): string =>
  schema.items === undefined ? '' : `[]${suffix(schema.items)}`;

const inner = (schema: StructuralSchema): StructuralSchema =>
  schema.items === undefined ? schema : inner(schema.items);

function table(rows: readonly Row[]): string[] {
  return [
    '| Field | Type | Default | Description |',
    '| --- | --- | --- | --- |',
    ...rows.map(
      ({ path, schema, required }) =>
        `| \`${path.replace(/^(spec|status)[.]/, '')}\` | ${typeOf(schema)}${boundsOf(schema)} | ${defaultOf(schema, required)} | ${cell(schema.description ?? '')} |`,
    ),
    '',
  ];
}

function typeOf(schema: StructuralSchema): string {
  if (schema['x-kubernetes-int-or-string'] === true) return 'whole number or text';
  if (schema.enum !== undefined) return schema.enum.map((choice) => `\`${String(choice)}\``).join(', ');
  if (schema.items !== undefined) return `list of ${typeOf(schema.items)}`;
  if (schema.additionalProperties !== undefined) return `map to ${typeOf(schema.additionalProperties)}`;
  if (schema['x-kubernetes-preserve-unknown-fields'] === true) return 'any document';
  if (schema.type === 'integer') return 'whole number';
  if (schema.type === 'string') return schema.format === 'date-time' ? 'time' : 'text';
  return schema.type ?? '';
}

function boundsOf(schema: StructuralSchema): string {
  const range = (low: number | undefined, high: number | undefined, what: string): string =>
    low !== undefined && high !== undefined
      ? `${low} to ${high}${what}`
      : high !== undefined
        ? `at most ${high}${what}`
        : low !== undefined
          ? `at least ${low}${what}`
          : '';
  const bounds = [
    range(schema.minimum, schema.maximum, ''),
    schema.type === 'string' ? range(undefined, schema.maxLength, ' characters') : '',
    range(schema.minItems, schema.maxItems, ' entries'),
    range(schema.minProperties, schema.maxProperties, ' entries'),
  ].filter((bound) => bound !== '');
  return bounds.length === 0 ? '' : ` (${bounds.join('; ')})`;
}

function defaultOf(schema: StructuralSchema, required: boolean): string {
  const value = schema.default;
  if (value === undefined) return required ? '**required**' : '–';
  if (typeof value === 'object' && value !== null && Object.keys(value).length === 0)
    return 'its own defaults';
  return `\`${cell(typeof value === 'string' ? value : JSON.stringify(value))}\``;
}

interface PlacedRule extends ValidationRule {
  readonly path: string;
}

function rules(path: string, schema: StructuralSchema): PlacedRule[] {
  return (schema['x-kubernetes-validations'] ?? []).map((rule) => ({ ...rule, path }));
}

/** Rules over several fields; those of single texts go without saying here. */
function allRules(schema: StructuralSchema | undefined, path: string): PlacedRule[] {
  if (schema === undefined) return [];
  const below = [
    ...Object.entries(schema.properties ?? {}).flatMap(([name, property]) =>
      allRules(property, `${path}.${name}`),
    ),
    ...allRules(schema.items, `${path}[]`),
    ...allRules(schema.additionalProperties, `${path}.*`),
  ];
  return [...(schema.type === 'string' ? [] : rules(path, schema)), ...below];
}

function rulesOf(placed: readonly PlacedRule[]): string[] {
  if (placed.length === 0) return [];
  return [
    'What the API server checks beside types and bounds:',
    '',
    '| Where | Remedy |',
    '| --- | --- |',
    ...placed.map(
      ({ path, fieldPath, message }) =>
        `| \`${path}${path === 'metadata.name' ? '' : (fieldPath ?? '')}\` | ${cell(message)} |`,
    ),
    '',
  ];
}

const cell = (text: string): string =>
  text.replaceAll('|', '\\|').replaceAll('\n', ' ').replaceAll('<', '&lt;');
