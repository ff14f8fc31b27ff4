import { describe, expect, it } from '@jest/globals';
import { resolveModel } from '@claude-gateway/contract';
import { ApiError } from '../http/errors.ts';
import { createModelPolicy, type ModelPolicy } from './models.ts';
import { load, type ConfigInFile } from './testing/fixtures.ts';

const policyOf = (config: ConfigInFile): ModelPolicy => createModelPolicy(load(config));

function refusalOf(policy: ModelPolicy, requested: string, availableModels?: readonly string[]): ApiError {
  try {
    policy.check(policy.accessFor(availableModels), requested);
  } catch (error) {
    if (error instanceof ApiError) return error;
    throw error;
  }
  throw new Error(`${requested} was allowed`);
}

describe('check', () => {
  const policy = policyOf({});

  it('keeps what was asked for beside what it means', () => {
    expect(policy.check(policy.accessFor(undefined), 'CLAUDE-haiku-4-5')).toEqual({
      requested: 'CLAUDE-haiku-4-5',
      canonical: 'claude-haiku-4-5-20251001',
    });
  });

  it('names the models that the person may use', () => {
    const error = refusalOf(policy, 'claude-opus-4-8', ['haiku']);
    expect(error).toMatchObject({ type: 'invalid_request_error', status: 400 });
    expect(error.message).toContain('claude-opus-4-8');
    expect(error.message).toContain('claude-haiku-5-5, claude-haiku-4-5-20251001: pick one');
  });

  it('names a few of many, and none of none', () => {
    const many = refusalOf(policy, 'claude-unknown-9').message;
    expect(many).toContain('and 7 more');
    expect(many.match(/claude-/g)).toHaveLength(1 + 8);
    expect(refusalOf(policy, 'claude-opus-4-8', []).message).toContain('No model is available to you here');
  });

  it('repeats a hostile name only in part and without control characters', () => {
    const { message } = refusalOf(policy, `\u001b[31m\n${'x'.repeat(100_000)}`);
    expect(message.length).toBeLessThan(700);
    expect(message).not.toMatch(/\p{Cc}/u);
  });

  it.each(['', '__proto__', 'constructor', 'toString', 'opus', 'claude-opus-4-8[1m]'])(
    'refuses %j',
    (name) => {
      expect(refusalOf(policy, name).status).toBe(400);
    },
  );

  it('refuses built-in models that are not included', () => {
    const own = policyOf({
      auto_include_builtin_models: false,
      models: [{ id: 'claude-haiku-4-5', upstream_model: { anthropic: 'h' } }],
    });
    expect(refusalOf(own, 'claude-opus-4-8').message).toContain('You may use claude-haiku-4-5: pick');
    expect(own.check(own.accessFor(undefined), 'claude-haiku-4-5-20251001').canonical).toBe(
      'claude-haiku-4-5-20251001',
    );
    expect(refusalOf(policyOf({ auto_include_builtin_models: false }), 'claude-opus-4-8').status).toBe(400);
  });
});

describe('upstreamModel', () => {
  const upstreams = [
    { name: 'anthropic', provider: 'anthropic' },
    { name: 'second', provider: 'anthropic' },
    { name: 'br', provider: 'bedrock', region: 'us-east-1' },
    { name: 'br-eu', provider: 'bedrock', region: 'eu-central-1' },
    { name: 'vertex', provider: 'vertex', region: 'global' },
    { name: 'foundry', provider: 'foundry' },
    {
      name: 'mantle',
      provider: 'mantle',
      region: 'us-east-1',
      models: ['claude-haiku-4-5', 'claude-sonnet-4-6'],
    },
  ] as const;
  const policy = policyOf({
    upstreams,
    models: [
      { id: 'claude-opus-4-8', upstream_model: { second: 'opus-two' } },
      { id: 'My-Model', upstream_model: { anthropic: 'foo', second: 'bar' } },
      { id: 'my-model', upstream_model: { anthropic: 'a later row for the same model' } },
      { id: 'claude-sonnet-4-5', upstream_model: { br: 'arn:aws:bedrock:us-east-1:1:inference-profile/x' } },
    ],
  });
  const idsOf = (name: string): Record<string, string | undefined> => {
    const { canonical } = policy.check(policy.accessFor(undefined), name);
    return Object.fromEntries(
      upstreams.map((upstream) => [upstream.name, policy.upstreamModel(canonical, upstream.name)]),
    );
  };

  it("asks each provider for a built-in model by the provider's id", () => {
    expect(idsOf('claude-haiku-4-5')).toEqual({
      anthropic: 'claude-haiku-4-5-20251001',
      second: 'claude-haiku-4-5-20251001',
      br: 'us.anthropic.claude-haiku-4-5-20251001-v1:0',
      'br-eu': 'anthropic.claude-haiku-4-5-20251001-v1:0',
      vertex: 'claude-haiku-4-5@20251001',
      foundry: 'claude-haiku-4-5',
      mantle: 'anthropic.claude-haiku-4-5',
    });
  });

  it('skips upstreams that do not have a model', () => {
    expect(idsOf('claude-opus-5')['mantle']).toBeUndefined();
    expect(idsOf('claude-sonnet-4-6')['mantle']).toBeUndefined();
  });

  it('sends a model with a row to the upstreams of that row and to no other', () => {
    expect(idsOf('claude-opus-4-8')).toMatchObject({
      anthropic: undefined,
      second: 'opus-two',
      br: undefined,
    });
    expect(idsOf('MY-MODEL')).toMatchObject({ anthropic: 'foo', second: 'bar', br: undefined });
    expect(idsOf('claude-sonnet-4-5-20250929')).toMatchObject({
      anthropic: undefined,
      br: 'arn:aws:bedrock:us-east-1:1:inference-profile/x',
    });
  });

  it('knows nothing of strangers', () => {
    expect(policy.upstreamModel('claude-opus-5', 'nowhere')).toBeUndefined();
    expect(policy.upstreamModel('claude-opus-4-8', 'constructor')).toBeUndefined();
  });
});

describe('accessFor', () => {
  it('offers a model once, under the name of the operator, whichever name that is', () => {
    const policy = policyOf({ models: [{ id: 'claude-haiku-4-5', upstream_model: { anthropic: 'h' } }] });
    const ids = policy.accessFor(undefined).listed.map(({ id }) => id);
    expect(ids[0]).toBe('claude-haiku-4-5');
    expect(ids).not.toContain('claude-haiku-4-5-20251001');
    expect(ids).toHaveLength(15);
  });

  it('serves older models without offering them', () => {
    const policy = policyOf({});
    const access = policy.accessFor(undefined);
    expect(access.listed.map(({ id }) => id)).not.toContain('claude-opus-4-5-20251101');
    expect(access.allows(resolveModel('claude-opus-4-5')!.id)).toBe(true);
  });
});
