import { describe, expect, it } from '@jest/globals';
import { checkConfig } from './check-config.ts';
import { renderConfig } from './gateway-config.ts';
import type { Resolved } from './references.ts';
import { CASES, gatewayWith, GOOD_SPECS, sampleValue, SIGNING_KEYS } from './testing/samples.ts';

const [, , least] = GOOD_SPECS;
const [provider] = least.identityProviders;

const check = (more: object, resolved: Resolved = sampleValue) =>
  checkConfig(renderConfig(gatewayWith({ ...least, ...more }), SIGNING_KEYS), resolved);
/** With one value of a Secret replaced. */
const having =
  (key: string, value: string): Resolved =>
  (kind, name, one) =>
    one === key ? value : sampleValue(kind, name, one);

it('hands out the configuration of a good gateway, secrets and all', () => {
  const { problems, warnings, config } = check({});
  expect({ problems, warnings }).toEqual({ problems: [], warnings: [] });
  expect(config?.store.postgres_url).toBe(sampleValue('Secret', 'claude', 'uri'));
});

it.each(CASES)('$name: has no problem but that this version cannot do something yet', ({ gateway }) => {
  const rendered = { ...renderConfig(gateway, SIGNING_KEYS), env: { CLAUDE_GATEWAY_ALLOW_LOOPBACK: '1' } };
  const { problems, config } = checkConfig(rendered, sampleValue);
  expect(problems.filter(({ message }) => !message.includes('not built into this version'))).toEqual([]);
  for (const { field } of problems) expect(field).toMatch(/^spec\.(upstreams\[\d+\]|telemetry)/);
  expect(config === undefined).toBe(problems.length > 0);
});

describe('names the field that is wrong', () => {
  const mapped: [field: string, says: string, more: object, resolved?: Resolved][] = [
    [
      'spec.upstreams[0].anthropic.baseURL',
      'metadata service',
      {
        upstreams: [
          {
            name: 'a',
            anthropic: { baseURL: 'http://169.254.169.254', apiKeySecretRef: { name: 'a', key: 'b' } },
          },
        ],
      },
    ],
    [
      'spec.upstreams[0].headers[0]',
      'is set by the gateway',
      { upstreams: [{ ...least.upstreams[0], headers: [{ name: 'x-api-key', value: 'a' }] }] },
    ],
    [
      'spec.identityProviders[0].issuer',
      'metadata service',
      { identityProviders: [{ ...provider, issuer: 'https://metadata.google.internal' }] },
    ],
    ['spec.database.urlSecretRef', 'must begin with postgres://', {}, having('uri', 'mysql://x')],
    ['spec.database.urlSecretRef', 'the value uri of Secret claude is empty', {}, having('uri', ' \n')],
    [
      'spec.session.signingKeys.secretRefs[1]',
      'at least 32 characters',
      {
        session: {
          signingKeys: {
            secretRefs: [
              { name: 'a', key: 'good' },
              { name: 'a', key: 'short' },
            ],
          },
        },
      },
      having('short', 'x'),
    ],
    [
      'spec.admin.keys[1].secretRef',
      'at least 32 characters',
      {
        admin: {
          keys: [
            { name: 'a', access: 'Write', secretRef: { name: 'a', key: 'good' } },
            { name: 'b', secretRef: { name: 'a', key: 'short' } },
          ],
        },
      },
      having('short', 'x'),
    ],
    [
      'spec.listen.tls.secretName',
      'no certificate',
      { listen: { tls: { secretName: 't' } } },
      having('tls.key', 'x'),
    ],
    ['spec.loginNotice', '${HOME}', { loginNotice: 'At ${HOME}' }],
    [
      'spec.upstreams[0].bedrock',
      'not built into this version',
      { upstreams: [{ name: 'b', bedrock: { region: 'eu-central-1' } }] },
    ],
    [
      'spec.upstreams[1].bedrock.guardrail',
      'input_tagging: must be the same',
      {
        upstreams: [
          {
            name: 'a',
            bedrock: { region: 'x', guardrail: { id: 'a', version: '1', inputTagging: 'LastMessage' } },
          },
          { name: 'b', bedrock: { region: 'x', guardrail: { id: 'a', version: '1' } } },
        ],
      },
    ],
    [
      'spec.telemetry.destinations[0].url',
      'CLAUDE_GATEWAY_ALLOW_LOOPBACK',
      { telemetry: { destinations: [{ name: 'a', url: 'http://localhost:4318' }] } },
    ],
    [
      'spec.pricing.overrides[1]',
      'prices the same model',
      {
        pricing: {
          overrides: ['claude-haiku-4-5', 'claude-haiku-4-5-20251001'].map((model) => ({
            ...{ upstream: 'anthropic', model, input: '1', output: '1', cacheRead: '1', cacheWrite: '1' },
          })),
        },
      },
    ],
  ];

  it.each(mapped.map(([field, says, ...input]) => ({ field, says, input })))('$field: $says', (one) => {
    const { field, says, input } = one;
    const [more, resolved] = input;
    const { problems, config } = check(more, resolved);
    expect(config).toBeUndefined();
    expect(problems).toContainEqual({ field, message: expect.stringContaining(says) });
  });
});

it('says the path in gateway.yaml where no field can be told', () => {
  const rendered = renderConfig(gatewayWith(least), SIGNING_KEYS);
  const yaml = rendered.yaml.replace('listen:', 'nonsense: 1\nlisten:');
  expect(checkConfig({ ...rendered, yaml }, sampleValue).problems).toEqual([
    { field: 'spec', message: 'nonsense: is not a known key' },
  ]);
});

it('says what is doubtful without refusing it', () => {
  const { problems, warnings } = check({ telemetry: { resourceAttributes: { team: 'platform' } } });
  expect(problems).toEqual([]);
  expect(warnings).toEqual([
    { field: 'spec.telemetry.resourceAttributes', message: expect.stringContaining('has no effect') },
  ]);
});

it('allows loopback where podTemplate does', () => {
  const more = {
    upstreams: [
      { name: 'a', anthropic: { baseURL: 'http://127.0.0.1:1', apiKeySecretRef: { name: 'a', key: 'b' } } },
    ],
  };
  expect(check(more).problems.map(({ field }) => field)).toEqual(['spec.upstreams[0].anthropic.baseURL']);
  const env = [{ name: 'CLAUDE_GATEWAY_ALLOW_LOOPBACK', value: '1' }];
  const podTemplate = { spec: { containers: [{ name: 'gateway', env }] } };
  expect(check({ ...more, podTemplate }).problems).toEqual([]);
});

it('refuses what no ConfigMap can hold', () => {
  const rendered = renderConfig(gatewayWith(least), SIGNING_KEYS);
  const yaml = `${rendered.yaml}# ${'x'.repeat(1024 * 1024)}\n`;
  expect(checkConfig({ ...rendered, yaml }, sampleValue).problems).toEqual([
    { field: 'spec', message: expect.stringContaining('ConfigMap') },
  ]);
});

it('never tells a secret', () => {
  const told: Resolved = (_kind, name, key) => `zebra-${name}-${key}`;
  for (const { gateway } of CASES) {
    const { problems, warnings } = checkConfig(renderConfig(gateway, SIGNING_KEYS), told);
    expect(problems).not.toEqual([]);
    expect(JSON.stringify([problems, warnings])).not.toContain('zebra');
  }
});
