import { describe, expect, it } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { allowedKeys } from './allowed-keys.ts';
import { jsonSchema, type JsonSchema, plainJsonSchema } from './json-schema.ts';
import { renderReference } from './reference-docs.ts';
import { sections } from './schema/gateway-config.ts';

/** Every key of the schema, as a path, with its own schema. */
function* fields(schema: JsonSchema, path = ''): Iterable<[string, JsonSchema]> {
  for (const [key, value] of Object.entries(schema.properties ?? {})) {
    yield [`${path}.${key}`, value];
    yield* fields(value, `${path}.${key}`);
  }
  if (schema.items !== undefined) yield* fields(schema.items, `${path}[]`);
  for (const form of [...(schema.anyOf ?? []), ...(schema.oneOf ?? [])]) yield* fields(form, path);
}

describe('jsonSchema', () => {
  const schema = jsonSchema() as JsonSchema;

  it('is draft 2020-12 and stands alone', () => {
    expect(schema.$schema).toBe('https://json-schema.org/draft/2020-12/schema');
    expect(JSON.stringify(schema)).not.toContain('$ref');
  });

  it('has every section and refuses others, as it does below', () => {
    expect(Object.keys(schema.properties ?? {})).toEqual(Object.keys(sections));
    expect(schema.required).toEqual(['listen', 'oidc', 'session', 'store', 'upstreams']);
    expect(schema.additionalProperties).toBe(false);
    expect(schema.properties?.['listen']?.additionalProperties).toBe(false);
  });

  it('describes every field, so that editors can', () => {
    const silent = [...fields(plainJsonSchema())]
      .filter(([, { description }]) => !description)
      .map(([path]) => path);
    expect(silent).toEqual([]);
  });

  it('knows defaults, bounds and choices', () => {
    const { listen, limits, admin } = plainJsonSchema().properties ?? {};
    expect(listen?.properties?.['port']).toMatchObject({
      type: 'integer',
      default: 8080,
      minimum: 0,
      maximum: 65535,
    });
    expect(limits?.properties?.['max_request_bytes']).toMatchObject({
      default: 33_554_432,
      exclusiveMinimum: 0,
    });
    expect(admin?.properties?.['group_limit_mode']).toMatchObject({ enum: ['min', 'max'], default: 'min' });
  });

  it('lets a reference stand for what is no free text, and keeps its description and default outside', () => {
    const port = schema.properties?.['listen']?.properties?.['port'];
    expect(port).toMatchObject({ default: 8080, description: expect.any(String) });
    expect(port?.anyOf).toEqual([
      { type: 'integer', minimum: 0, maximum: 65535 },
      expect.objectContaining({ type: 'string', pattern: '\\$\\{' }),
    ]);
    expect(schema.properties?.['listen']?.properties?.['host']).toMatchObject({ type: 'string' });
    const secret = schema.properties?.['session']?.properties?.['jwt_secret'];
    const reference = new RegExp('\\$\\{');
    expect(reference.test('${SECRET}')).toBe(true);
    expect(JSON.stringify(secret)).toContain(JSON.stringify('\\$\\{'));
  });
});

describe('allowedKeys', () => {
  it('follows lists, records and unions', () => {
    expect(allowedKeys({}, [])).toContain('listen');
    expect(allowedKeys({}, ['listen', 'tls'])).toEqual(['cert', 'key']);
    expect(allowedKeys({ oidc: {} }, ['oidc'])).toContain('client_id');
    expect(allowedKeys({ oidc: [{}] }, ['oidc', 0])).toContain('client_id');
    expect(allowedKeys({}, ['session', 'nowhere', 3])).toEqual([]);
  });

  it('chooses the form by its discriminator', () => {
    const document = { upstreams: [{ provider: 'vertex' }, { provider: 'mantle' }] };
    expect(allowedKeys(document, ['upstreams', 0])).not.toContain('assume_role');
    expect(allowedKeys(document, ['upstreams', 1])).toContain('assume_role');
    expect(allowedKeys(document, ['upstreams', 0, 'auth'])).toEqual(['service_account_json', 'access_token']);
  });
});

describe('docs/reference/gateway-yaml.md', () => {
  it('is what the schema says now', () => {
    const file = new URL('../../docs/reference/gateway-yaml.md', import.meta.url);
    expect(readFileSync(file, 'utf8')).toBe(renderReference());
  });

  it('has every field of every section', () => {
    const text = renderReference();
    for (const [path] of fields(plainJsonSchema())) {
      const key = path.split('.').at(-1)?.replace('[]', '') ?? '';
      expect(text).toContain(key === '$schema' ? '' : key);
    }
    expect(text).toContain('| `tls.cert` | string | **required** |');
    expect(text).toContain('| `forward_to[].metrics` | boolean | `true` |');
  });
});
