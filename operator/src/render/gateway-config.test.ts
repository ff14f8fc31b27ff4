import { describe, expect, it } from '@jest/globals';
import { writeFileSync } from 'node:fs';
import { parse, stringify } from 'yaml';
import { loadConfig } from '@claude-gateway/contract';
import type { ClaudeGateway } from '@claude-gateway/crds';
import { renderConfig, type RenderedConfig } from './gateway-config.ts';
import { CASES, gatewayWith, GOOD_SPECS, goldenFile, readGolden, sampleValue, SIGNING_KEYS } from './testing/samples.ts'; // prettier-ignore

const render = (gateway: ClaudeGateway): RenderedConfig => renderConfig(gateway, SIGNING_KEYS);
const [everything, , least] = GOOD_SPECS;

function load({ yaml, files }: RenderedConfig) {
  return loadConfig(yaml, {
    env: { CLAUDE_GATEWAY_ALLOW_LOOPBACK: '1' },
    readFile: (path) => {
      const file = files.find((one) => one.path === path);
      if (file === undefined) throw new Error(`${path} is not mounted`);
      return sampleValue(file.kind, file.name, file.key) ?? '';
    },
  }).config;
}

describe.each(CASES)('$name', ({ name, gateway }) => {
  it('renders what it rendered before', () => {
    const { yaml } = render(gateway);
    // UPDATE_GOLDEN=1 writes what is compared otherwise: look at the difference before you commit it.
    if (process.env['UPDATE_GOLDEN'] === '1') writeFileSync(goldenFile(name), yaml);
    expect(yaml).toBe(readGolden(name));
  });

  it("is what the gateway's own loader takes", () => {
    expect(load(render(gateway)).listen.public_url).toBe(gateway.spec.publicURL);
  });
});

it.each(GOOD_SPECS.map((spec, index) => [index, spec] as const))('loads the good spec %i', (_, spec) => {
  expect(load(render(gatewayWith(spec))).upstreams.map(({ name }) => name)).toEqual(
    spec.upstreams.map(({ name }) => name),
  );
});

/** The same, every map with its keys the other way round. */
function reversed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reversed);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .map(([key, item]) => [key, reversed(item)])
      .toReversed(),
  );
}

it('gives equal bytes whatever the order of keys', () => {
  for (const { gateway } of CASES)
    expect(render(reversed(gateway) as ClaudeGateway)).toEqual(render(gateway));
});

it('has no secret in it, and mounts what it refers to', () => {
  const { yaml, files, tokens } = render(gatewayWith(everything));
  for (const { kind, name, key, path } of files) {
    expect(yaml).not.toContain(sampleValue(kind, name, key));
    expect(yaml).toContain(path);
  }
  const named = [...yaml.matchAll(/\/etc\/claude-gateway\/[^\s}]+/g)].map(([path]) => path);
  expect(new Set(named)).toEqual(new Set([...files, ...tokens].map(({ path }) => path)));
  expect(files.map(({ path }) => path)).toEqual(files.map(({ path }) => path).toSorted());
  expect(files.filter(({ byPath }) => byPath).map(({ key }) => key)).toEqual([
    'google',
    'tls.crt',
    'tls.key',
  ]);
});

it('asks for a token for every audience', () => {
  const federated = (name: string, tokenAudience: string) => ({
    name,
    anthropic: { federation: { federationRuleID: 'f', organizationID: 'o', tokenAudience } },
  });
  const upstreams = [
    federated('a', 'https://one'),
    federated('b', 'https://two'),
    federated('c', 'https://one'),
  ];
  const rendered = render(gatewayWith({ ...least, upstreams }));
  expect(rendered.tokens.map(({ audience }) => audience).toSorted()).toEqual(['https://one', 'https://two']);
  const paths = load(rendered).upstreams.map(
    ({ auth }) => 'identity_token_file' in auth && auth.identity_token_file,
  );
  expect(paths[0]).toBe(paths[2]);
  expect(new Set(paths)).toEqual(new Set(rendered.tokens.map(({ path }) => path)));
});

it('signs with the first of the keys that the operator made', () => {
  const { session } = parse(render(gatewayWith(least)).yaml) as { session: unknown };
  expect(session).toEqual({
    jwt_secret: [
      '${file:/etc/claude-gateway/refs/secret/main-signing-keys/k2}',
      '${file:/etc/claude-gateway/refs/secret/main-signing-keys/k1}',
    ],
    groups: 'named',
    ttl_hours: 1,
  });
  expect(() => renderConfig(gatewayWith(least), undefined)).toThrow('no signing keys');
});

it('sorts percentages, which people write in any order', () => {
  const config = load(render(gatewayWith({ ...least, spend: { warnAtPercent: [95, 50, 75] } })));
  expect(config.enforcement.warn_at_percent).toEqual([50, 75, 95]);
});

it('turns limits on although nobody administers', () => {
  expect(load(render(gatewayWith(least))).admin).toBeDefined();
});

it.each(['<<', 'constructor', '? x', 'on', '1', '-', '# x', 'a: b', '${HOME}'])(
  'keeps the name %j of a parameter as it is',
  (name) => {
    const [provider] = least.identityProviders;
    const extraAuthParams = Object.fromEntries([[name, 'value']]);
    const rendered = render(gatewayWith({ ...least, identityProviders: [{ ...provider, extraAuthParams }] }));
    expect(Object.entries(load(rendered).oidc[0]?.extra_auth_params ?? {})).toEqual([[name, 'value']]);
    expect(rendered.problems).toEqual([]);
  },
);

it.each([
  'true',
  '0x10',
  '1e3',
  '',
  '~',
  ' x ',
  'a\nb\n',
  '|',
  '*a',
  '&a',
  '{',
  '$',
  '${',
  '${X:-y}',
  '{x}',
  '☃',
])('keeps the text %j as it is', (text) => {
  const [provider] = least.identityProviders;
  const identityProviders = [{ ...provider, extraAuthParams: { text } }];
  const rendered = render(gatewayWith({ ...least, identityProviders }));
  expect(load(rendered).oidc[0]?.extra_auth_params).toEqual({ text });
  expect(rendered.problems).toEqual([]);
});

it.each(['${HOME}', 'a ${file:/var/run/secrets/kubernetes.io/serviceaccount/token} b'])(
  'refuses the text %j, which the gateway would replace',
  (text) => {
    const [provider] = least.identityProviders;
    const fields = (more: object): string[] =>
      render(gatewayWith({ ...least, ...more })).problems.map(({ field }) => field);
    expect(fields({ loginNotice: text })).toEqual(['spec.loginNotice']);
    expect(fields({ identityProviders: [{ ...provider, extraAuthParams: { a: text } }] })).toEqual([
      'spec.identityProviders[0].extraAuthParams.a',
    ]);
    expect(fields({ admin: { groups: ['a', text] } })).toEqual(['spec.admin.groups[1]']);
  },
);

it('follows what podTemplate says about loopback, and nothing else of the environment', () => {
  const env = (list: unknown): unknown =>
    render(gatewayWith({ ...least, podTemplate: { spec: { containers: [{ name: 'gateway', env: list }] } } }))
      .env;
  const allowed = { name: 'CLAUDE_GATEWAY_ALLOW_LOOPBACK', value: '1' };
  expect(env([{ name: 'HOME', value: '/' }, allowed])).toEqual({ CLAUDE_GATEWAY_ALLOW_LOOPBACK: '1' });
  expect(env([{ name: 'HOME', value: '/' }])).toEqual({});
  expect(env([{ ...allowed, value: undefined, valueFrom: {} }])).toEqual({});
  expect(env('nonsense')).toEqual({});
});

it('is YAML that survives another writer', () => {
  const { yaml } = render(gatewayWith(everything));
  expect(parse(stringify(parse(yaml)))).toEqual(parse(yaml));
});
