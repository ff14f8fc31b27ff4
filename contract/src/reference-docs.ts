import { type JsonSchema, plainJsonSchema } from './json-schema.ts';

interface Row {
  readonly key: string;
  readonly schema: JsonSchema;
  readonly required: boolean;
}

const PREAMBLE = `# gateway.yaml

<!-- Generated from contract/src/schema by contract/src/generate-docs.ts; edit the schemas and run it again. -->

Every key of the gateway's configuration. Unknown keys, wrong values and keys that stand twice stop the start, all of
them at once; \`claude-gateway --config gateway.yaml --check\` says so without starting. A file of the Claude apps gateway
works as it is.

**References.** \`\${VAR}\` in a string is replaced by an environment variable, \`\${file:/path}\` by the content of a file
without white space at its ends, any number of times in a string. A variable that is not set and a file that is empty or
cannot be read are errors. Replacement follows YAML parsing, so a value cannot change the structure of the file; it is not
repeated, and does not touch keys. There is no escape: \`\${\` that begins neither form stays as it is.

**Editors.** \`claude-gateway --print-schema > gateway.schema.json\`, and at the top of the file
\`# yaml-language-server: $schema=gateway.schema.json\`.

**Reload.** SIGHUP, or a change of the file or of a file that it refers to, applies all changes without a restart, except
for \`listen.host\`, \`listen.port\`, the presence of \`listen.tls\`, \`store\`, \`metrics\`, how long \`admin\` has things kept, and
\`limits.max_request_header_bytes\`.
`;

/** docs/reference/gateway-yaml.md. */
export function renderReference(): string {
  const { properties = {}, required = [] } = plainJsonSchema();
  const sections = Object.entries(properties)
    .filter(([name]) => name !== '$schema')
    .map(([name, schema]) => renderSection(name, schema, required.includes(name)));
  return `${[PREAMBLE, ...sections].join('\n')}`;
}

function renderSection(name: string, schema: JsonSchema, required: boolean): string {
  const intro = [
    `## \`${name}\``,
    '',
    [required ? 'Required.' : '', schema.description].filter(Boolean).join(' '),
    '',
  ];
  const forms = schema.items?.oneOf;
  if (forms !== undefined) {
    return [
      ...intro,
      `A list; each entry has one of these forms.`,
      '',
      ...forms.flatMap((form) => [
        `### \`provider: ${String(form.properties?.['provider']?.const)}\``,
        '',
        form.description ?? '',
        '',
        ...table(rowsOf(form, '')),
      ]),
    ].join('\n');
  }
  const entry = schema.items ?? withKeys(schema);
  const rows = entry === undefined ? [] : rowsOf(entry, '');
  if (rows.length === 0) {
    return [...intro, `Type: ${typeOf(schema)}. Default: ${defaultOf(schema, required)}.`, ''].join('\n');
  }
  if (schema.items !== undefined) intro.push('A list of maps with these keys.', '');
  return [...intro, ...table(rows)].join('\n');
}

/** The form of a schema that has keys: itself, or the first of a union. */
function withKeys(schema: JsonSchema): JsonSchema | undefined {
  if (schema.properties !== undefined) return schema;
  return schema.anyOf?.find(({ properties }) => properties !== undefined);
}

function rowsOf({ properties = {}, required = [] }: JsonSchema, prefix: string): Row[] {
  return Object.entries(properties).flatMap(([name, schema]) => {
    const key = `${prefix}${name}`;
    return [{ key, schema, required: required.includes(name) }, ...nestedRows(schema, key)];
  });
}

function nestedRows(schema: JsonSchema, key: string): Row[] {
  if (schema.properties !== undefined) return rowsOf(schema, `${key}.`);
  if (schema.items?.properties !== undefined) return rowsOf(schema.items, `${key}[].`);
  const forms = (schema.anyOf ?? []).filter(({ properties }) => properties !== undefined);
  // Which keys go together stands with the union; alone, none of them is required.
  return forms.flatMap((form) => rowsOf(forms.length > 1 ? { ...form, required: [] } : form, `${key}.`));
}

function table(rows: readonly Row[]): string[] {
  return [
    '| Key | Type | Default | Description |',
    '| --- | --- | --- | --- |',
    ...rows.map(({ key, schema, required }) =>
      [
        `| \`${key}\``,
        typeOf(schema),
        defaultOf(schema, required),
        `${escapeCell(schema.description ?? '')} |`,
      ].join(' | '),
    ),
    '',
  ];
}

function typeOf(schema: JsonSchema): string {
  if (schema.const !== undefined) return `\`${JSON.stringify(schema.const).replaceAll('"', '')}\``;
  if (schema.enum !== undefined) return schema.enum.map((value) => `\`${String(value)}\``).join(', ');
  const forms = schema.anyOf ?? schema.oneOf;
  if (forms !== undefined) {
    return forms.every(({ properties }) => properties !== undefined)
      ? forms.map(({ required = [] }) => required.map((key) => `\`${key}\``).join(' + ')).join(' or ')
      : [...new Set(forms.map(typeOf))].join(' or ');
  }
  if (schema.type === 'array') return `list of ${plural(typeOf(schema.items ?? {}))}`;
  if (schema.type === 'object') return schema.properties === undefined ? mapType(schema) : 'map';
  if (schema.type === 'integer') return 'whole number';
  return schema.type ?? 'anything';
}

const plural = (type: string): string =>
  /^(string|map|number|whole number)$/.test(type) ? `${type}s` : type;

function mapType({ additionalProperties }: JsonSchema): string {
  return typeof additionalProperties === 'object' && additionalProperties.type !== undefined
    ? `map to ${plural(typeOf(additionalProperties))}`
    : 'map';
}

function defaultOf(schema: JsonSchema, required: boolean): string {
  if (required) return '**required**';
  const { default: value } = schema;
  if (value === undefined) return '–';
  if (Array.isArray(value) && value.length === 0) return 'empty';
  if (typeof value === 'object' && value !== null && Object.keys(value).length === 0) return '–';
  return `\`${JSON.stringify(value).replace(/^"(.*)"$/, '$1')}\``;
}

const escapeCell = (text: string): string =>
  text.replaceAll('|', '\\|').replaceAll('<', '&lt;').replaceAll('*', '\\*');
