import { describe, expect, it } from '@jest/globals';
import { CATALOG, nanoUsdPerToken, providerModelId, resolveModel, UNKNOWN_MODEL_PRICES } from './catalog.ts';

describe('resolveModel', () => {
  // What the reference gateway 2.1.330 sent upstream for each spelling.
  it.each([
    ['claude-opus-4-8', 'claude-opus-4-8'],
    ['CLAUDE-Opus-4-8', 'claude-opus-4-8'],
    ['claude-sonnet-4-5', 'claude-sonnet-4-5-20250929'],
    ['claude-sonnet-4-5-20250929', 'claude-sonnet-4-5-20250929'],
    ['claude-sonnet-4-5@20250929', 'claude-sonnet-4-5-20250929'],
    ['us.anthropic.claude-opus-4-6-v1', 'claude-opus-4-6'],
    ['us.anthropic.claude-haiku-4-5-20251001-v1:0', 'claude-haiku-4-5-20251001'],
    ['anthropic.claude-haiku-4-5', 'claude-haiku-4-5-20251001'],
    ['claude-opus-4', 'claude-opus-4-20250514'],
    ['claude-3-7-sonnet', 'claude-3-7-sonnet-20250219'],
    ['claude-3-5-sonnet-v2@20241022', 'claude-3-5-sonnet-20241022'],
  ])('knows %s', (name, id) => {
    expect(resolveModel(name)?.id).toBe(id);
  });

  it.each([
    'opus',
    'default',
    'opusplan',
    'claude-opus-4-8[1m]',
    'claude-opus-4-8-20260101',
    'claude-haiku-4-5@20250101',
    'claude-opus-4-8-latest',
    'eu.anthropic.claude-opus-4-8',
    'anthropic/claude-opus-4-8',
    ' claude-opus-4-8',
    'claude-3-opus-20240229',
    'claude-unknown-9',
    '',
    'constructor',
    '__proto__',
  ])('does not know %j', (name) => {
    expect(resolveModel(name)).toBeUndefined();
  });

  it('lists fifteen models and serves six older ones', () => {
    expect(CATALOG.filter((model) => model.listed)).toHaveLength(15);
    expect(CATALOG.filter((model) => !model.listed)).toHaveLength(6);
  });
});

describe('providerModelId', () => {
  const opus = resolveModel('claude-opus-4-6')!;

  it.each([
    ['us-east-1', 'us.anthropic.claude-opus-4-6-v1'],
    ['ca-central-1', 'us.anthropic.claude-opus-4-6-v1'],
    ['us-gov-west-1', 'anthropic.claude-opus-4-6-v1'],
    ['eu-central-1', 'anthropic.claude-opus-4-6-v1'],
    ['ap-northeast-1', 'anthropic.claude-opus-4-6-v1'],
  ])('names the model for Bedrock in %s', (region, id) => {
    expect(providerModelId(opus, 'bedrock', region)).toBe(id);
  });

  it('uses undated deployment names at Foundry and dated ids at the first party', () => {
    const haiku = resolveModel('claude-haiku-4-5')!;
    expect(providerModelId(haiku, 'foundry')).toBe('claude-haiku-4-5');
    expect(providerModelId(haiku, 'anthropic')).toBe('claude-haiku-4-5-20251001');
    expect(providerModelId(haiku, 'vertex', 'us-east5')).toBe('claude-haiku-4-5@20251001');
    expect(providerModelId(resolveModel('claude-3-7-sonnet')!, 'mantle')).toBeUndefined();
  });
});

describe('nanoUsdPerToken', () => {
  it.each([
    ['5', 5000n],
    ['0.05', 50n],
    ['0.625', 625n],
    ['18.75', 18_750n],
    ['0', 0n],
  ])('%s USD per million is %s nano-USD', (usd, nano) => {
    expect(nanoUsdPerToken(usd)).toBe(nano);
  });

  it.each(['0.0625', '-1', '1e3', '', ' 1', '1.'])('refuses %j', (usd) => {
    expect(() => nanoUsdPerToken(usd)).toThrow(RangeError);
  });

  it('converts every price of the catalog', () => {
    const all = [UNKNOWN_MODEL_PRICES, ...CATALOG.flatMap((model) => model.usd_per_million_tokens ?? [])];
    for (const prices of all)
      for (const usd of Object.values(prices)) expect(nanoUsdPerToken(usd)).toBeGreaterThan(0n);
  });
});
