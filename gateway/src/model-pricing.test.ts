import { describe, expect, it } from '@jest/globals';
import { loadConfig } from '@claude-gateway/contract';
import { modelPricing } from './model-pricing.ts';
import { compilePolicy } from './policy/policy.ts';
import { policySource } from './policy-parts.ts';

const override = (upstream: string, model: string, input: number) =>
  `{ upstream: ${upstream}, model: ${model}, input: ${input}, output: 2, cache_read: 0.3, cache_write: 4 }`;
const price = (input: number) => ({ input, output: 2, cacheRead: 0.3, cacheWrite: 4 });

function pushed(pricing: string, settings = '{ model: opus }'): unknown {
  const { config } = loadConfig(
    `
listen: { public_url: "https://gateway.example" }
oidc: { issuer: "https://idp.example", client_id: g, client_secret: s }
session: { jwt_secret: "0123456789abcdef0123456789abcdef" }
store: { postgres_url: "postgres://localhost/x" }
upstreams:
  - { name: a, provider: anthropic, auth: { api_key: k } }
  - { name: b, provider: anthropic, auth: { api_key: k } }
models:
  - { id: own-model, upstream_model: { a: claude-opus-4-8, b: x } }
managed: { policies: [{ match: {}, cli: ${settings} }] }
${pricing}
`,
    { env: {}, readFile: () => '' },
  );
  const source = policySource(config);
  const sent = modelPricing(config, source);
  const answer = compilePolicy(source, {
    publicUrl: 'https://gateway.example',
    ...(sent === undefined ? {} : { modelPricing: sent }),
  }).settingsFor({ id: 'u', email: null, name: null, groups: [] } as never);
  return answer.state === 'served' ? answer.document.settings['modelPricing'] : answer.state;
}

// What the reference 2.1.332 sends for the same configurations.
describe('modelPricing in managed settings', () => {
  it.each([
    ['', undefined],
    ['pricing: { multiplier: 1 }', undefined],
    ['pricing: { multiplier: 0.5 }', { multiplier: 0.5 }],
  ])('%s', (pricing, expected) => {
    expect(pushed(pricing)).toEqual(expected);
  });

  it('has the prices of the first upstream that serves a model, under the ids of models', () => {
    const overrides = [
      override('a', 'claude-opus-4-8', 1),
      override('b', 'claude-opus-4-8', 2),
      override('b', 'opus', 9),
      override('b', 'claude-haiku-4-5', 3),
      override('a', 'own-model', 7),
      override('a', 'claude-sonnet-4-5-20250929', 8),
    ];
    expect(pushed(`pricing: { overrides: [${overrides.join(', ')}] }`)).toEqual({
      overrides: {
        'claude-opus-4-8': price(1),
        'own-model': price(1),
        'claude-sonnet-4-5-20250929': price(8),
      },
    });
  });

  it('leaves what a policy says itself alone', () => {
    const own =
      '{ modelPricing: { overrides: { x: { input: 1, output: 1, cacheRead: 1, cacheWrite: 1 } } } }';
    expect(pushed('pricing: { multiplier: 2 }', own)).toEqual({
      overrides: { x: { input: 1, output: 1, cacheRead: 1, cacheWrite: 1 } },
    });
  });
});
