import { afterAll, describe, expect, it } from '@jest/globals';
import { ApiError } from '../http/errors.ts';
import type { InferenceCall, ModelPolicy } from './inference.ts';
import { HELLO, post, readAll, TestBed } from './testing/harness.ts';
import { createTokenCounter } from './token-count.ts';

const bed = new TestBed();
afterAll(() => bed.close());

/** Models that begin with `a`, and no others; at the upstream they are in capitals. `b-only` is at the second alone. */
const policy: ModelPolicy = {
  checkModel(_principal, requested) {
    if (!/^(?:a|b-only|claude)/.test(requested)) throw new ApiError('invalid_request_error', 'not for you');
    return { canonical: requested.toLowerCase() };
  },
  allowsEveryModel: () => false,
  upstreamModel: (model, upstream) =>
    model === 'b-only' && upstream === 'up0' ? undefined : model.toUpperCase(),
};

async function gatewayWith(
  overrides: Partial<ModelPolicy> = {},
  admission?: (call: InferenceCall) => Buffer,
) {
  const bodies: string[] = [];
  const { url } = await bed.serve((request, response) => {
    void readAll(request).then((body) => {
      bodies.push(body.toString());
      response.end(
        request.url?.startsWith('/v1/messages/count_tokens') === true ? '{"input_tokens":1}' : '{}',
      );
    });
  });
  const calls: InferenceCall[] = [];
  const gateway = await bed.gateway([url, url], {
    policy: { ...policy, ...overrides },
    admission: {
      admit(call) {
        calls.push(call);
        const body = admission?.(call);
        return { ...(body !== undefined && { body }), observer: { onResponseStart: () => undefined } };
      },
    },
  });
  return { gateway, bodies, calls };
}

const advisor = (model: unknown): object => ({ type: 'advisor_20260301', name: 'advisor', model });
const define = (definition: object): object => ({
  messages: [
    { role: 'system', content: [{ type: 'tool_addition', tool: { type: 'tool_definition', definition } }] },
  ],
});

describe('a model that a request names beside its own', () => {
  it.each<[string, object, string]>([
    ['of a tool', { tools: [{ name: 'x' }, advisor('denied')] }, 'tools.1.model: not for you'],
    ['of a fallback', { fallbacks: [{ model: 'a' }, { model: 'denied' }] }, 'fallbacks.1.model: not for you'],
    ['of a tool in a message', define(advisor('denied')), 'tool_definition.model: not for you'],
    ['that is no text', { tools: [advisor({ id: 'a' })] }, 'tools.0.model: must be the name of a model.'],
    ['that is nothing', { fallbacks: [{ model: null }] }, 'fallbacks.0.model: must be the name of a model.'],
    [
      'that is too long',
      { tools: [advisor('a'.repeat(5000))] },
      'tools.0.model: must be the name of a model.',
    ],
    [
      'of a tool that is not known to ask one',
      { tools: [{ type: 'oracle_20290101', name: 'x', model: 'a' }] },
      'tools.0.model: this gateway knows no tool of this type that asks a model, and cannot check it; leave it out.',
    ],
    [
      'of such a tool in a message',
      define({ type: 'oracle_20290101', name: 'x', model: 'a' }),
      'tool_definition.model: this gateway knows no tool of this type that asks a model, and cannot check it; leave it out.',
    ],
    [
      'of a tool without a type',
      { tools: [{ name: 'x', model: 'a' }] },
      'tools.0.model: this gateway knows no tool of this type that asks a model, and cannot check it; leave it out.',
    ],
    [
      'that an advisor leaves open',
      { tools: [{ type: 'advisor_20260301', name: 'advisor' }] },
      'tools.0.model: this tool asks a model, and this gateway cannot check one that is not named; name it.',
    ],
    [
      'that an advisor of another kind leaves open',
      { tools: [{ type: 'Advisor_next', name: 'advisor' }] },
      'tools.0.model: this tool asks a model, and this gateway cannot check one that is not named; name it.',
    ],
    [
      'that an advisor in a message leaves open',
      define({ type: 'advisor_20260301', name: 'advisor' }),
      'tool_definition.model: this tool asks a model, and this gateway cannot check one that is not named; name it.',
    ],
    [
      'of a tool, by another name',
      { tools: [{ ...advisor('a'), fallback_model: 'a' }] },
      'tools.0.fallback_model: this gateway does not know this member and cannot check the model in it; leave it out.',
    ],
    [
      'of a tool in a message, by another name',
      define({ ...advisor('a'), options: { judge_model: 'a' } }),
      'tool_definition.judge_model: this gateway does not know this member and cannot check the model in it; leave it out.',
    ],
    [
      'in the choice of tools',
      { tool_choice: { type: 'auto', model: 'a' } },
      'tool_choice.model: this gateway does not know this member and cannot check the model in it; leave it out.',
    ],
    [
      'where nobody knows of one',
      { agents: [{ model: 'a' }] },
      'agents: this gateway does not know this member and cannot check the model in it; leave it out.',
    ],
  ])('%s', async (_, change, message) => {
    const { gateway, bodies } = await gatewayWith();
    for (const path of ['/v1/messages', '/v1/messages/count_tokens']) {
      const response = await post(gateway, { ...HELLO, ...change }, {}, path);
      expect(response.status).toBe(400);
      expect(await response.json()).toMatchObject({
        error: {
          type: 'invalid_request_error',
          message,
        },
      });
    }
    expect(bodies).toEqual([]);
  });

  it('goes by its name at the upstream, and only to upstreams that have it', async () => {
    const { gateway, bodies, calls } = await gatewayWith();
    const body = {
      model: 'claude-x',
      tools: [{ name: 'ä' }, advisor('b-only'), advisor('a\\u0062c'.replace('\\\\', '\\'))],
      fallbacks: [{ model: 'azure', max_tokens: 5 }],
    };
    await post(gateway, JSON.stringify(body).replace('\\\\u', '\\u'));
    expect(calls[0]?.candidates.map(({ upstream }) => upstream.name)).toEqual(['up1']);
    expect(calls[0]?.request.otherModels.map(({ path, canonical }) => [path, canonical])).toEqual([
      ['tools.1.model', 'b-only'],
      ['tools.2.model', 'abc'],
      ['fallbacks.0.model', 'azure'],
    ]);
    expect(bodies.map((text) => JSON.parse(text) as unknown)).toEqual([
      {
        model: 'CLAUDE-X',
        tools: [{ name: 'ä' }, advisor('B-ONLY'), advisor('ABC')],
        fallbacks: [{ model: 'AZURE', max_tokens: 5 }],
      },
    ]);
  });

  it('is served by an upstream that has all of them, or not at all', async () => {
    const { gateway, bodies } = await gatewayWith({
      upstreamModel: (model, upstream) => (model === 'b-only' && upstream === 'up0' ? undefined : model),
      checkModel: (_principal, requested) => ({ canonical: requested }),
    });
    const both = { ...HELLO, tools: [advisor('b-only')] };
    expect((await post(gateway, both)).status).toBe(200);
    const none = await gatewayWith({ upstreamModel: (model) => (model === 'b-only' ? undefined : model) });
    const refused = await post(none.gateway, { ...both, fallbacks: [{ model: 'azure' }] });
    expect(await refused.json()).toMatchObject({
      error: {
        message: `No upstream of this gateway serves the model ${HELLO.model} and b-only (tools.0.model) and azure (fallbacks.0.model).`,
      },
    });
    expect(bodies).toHaveLength(1);
  });

  it('does so too in a body that was lowered, and where it is counted', async () => {
    const lowered = {
      max_tokens: 1,
      tools: [advisor('abc')],
      model: 'claude-x',
      fallbacks: [{ model: 'azure' }],
    };
    const { gateway, bodies, calls } = await gatewayWith({}, () => Buffer.from(JSON.stringify(lowered)));
    await post(gateway, {
      ...HELLO,
      model: 'claude-x',
      fallbacks: [{ model: 'azure' }],
      tools: [advisor('abc')],
    });
    expect(JSON.parse(bodies[0] ?? '')).toEqual({
      ...lowered,
      model: 'CLAUDE-X',
      tools: [advisor('ABC')],
      fallbacks: [{ model: 'AZURE' }],
    });
    const [call] = calls;
    if (call === undefined) throw new Error('not admitted');
    await createTokenCounter(bed.agent())(call);
    expect(JSON.parse(bodies[1] ?? '')).toEqual({
      model: 'CLAUDE-X',
      messages: HELLO.messages,
      tools: [advisor('ABC')],
    });
  });

  it('is not for the upstream to choose, unless the caller may use every model', async () => {
    const body = { ...HELLO, fallbacks: 'default' };
    const restricted = await gatewayWith();
    expect((await post(restricted.gateway, body)).status).toBe(200);
    expect(restricted.bodies.map((text) => JSON.parse(text) as unknown)).toEqual([
      { ...HELLO, model: 'CLAUDE-OPUS-4-8', fallbacks: null },
    ]);
    const free = await gatewayWith({ allowsEveryModel: () => true, upstreamModel: (model) => model });
    await post(free.gateway, body);
    expect(free.bodies).toEqual([JSON.stringify(body)]);
  });
});
