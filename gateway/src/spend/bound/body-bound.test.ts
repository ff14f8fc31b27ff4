import { describe, expect, it } from '@jest/globals';
import {
  boundOf,
  IMAGE_TOKENS,
  maxTokensOf,
  PROMPT_OVERHEAD,
  SEARCH_RESULT_TOKENS,
  withPromptTokens,
} from './body-bound.ts';
import { createConversationMemory } from './conversation-memory.ts';
import { countedBound } from './counted-bound.ts';
import { boundRequest } from './testing/bound-request.ts';
import { asksUnknownModel } from './unknown-model.ts';

const SMALL = 'claude-haiku-4-5-20251001';
const LARGE = 'claude-opus-4-8';
const hello = {
  model: LARGE,
  max_tokens: 1000,
  messages: [{ role: 'user', content: [{ type: 'text', text: 'hello' }] }],
};
const search = { type: 'web_search_20250305', name: 'web_search', max_uses: 3 };
const bound = (body: unknown, model = LARGE, headers = {}) => boundOf(boundRequest(body, headers), model);
const length = (body: unknown): number => Buffer.byteLength(JSON.stringify(body));

describe('the input of a request', () => {
  it('is at most its bytes and what the upstream adds', () => {
    expect(bound(hello)).toEqual({
      promptTokens: length(hello) + PROMPT_OVERHEAD,
      promptReads: 1,
      promptRereads: 0,
      serverRounds: 0,
      serverTokens: 0,
      serverOutputTokens: 0,
      usInference: false,
      answers: 1,
      inputTokens: length(hello) + PROMPT_OVERHEAD,
      outputTokens: 1000,
      webSearches: 0,
      cacheWrites: 'none',
      fastMode: false,
    });
  });

  it('is at most the context window of the model', () => {
    const long = { ...hello, system: 'x'.repeat(3_000_000) };
    expect(bound(long).inputTokens).toBe(1_000_000);
    expect(bound(long, SMALL).inputTokens).toBe(200_000);
    expect(bound(long, 'claude-sonnet-4-5-20250929').inputTokens).toBe(200_000);
    expect(bound(long, 'claude-sonnet-4-6').inputTokens).toBe(1_000_000);
    expect(bound(long, 'nobody-knows').inputTokens).toBe(1_000_000);
  });

  it('may have the large window where a beta asks for it, in a header or in the body', () => {
    const long = { ...hello, system: 'x'.repeat(3_000_000) };
    const sonnet = 'claude-sonnet-4-5-20250929';
    expect(bound(long, sonnet, { 'anthropic-beta': 'a,context-1m-2025-08-07' }).inputTokens).toBe(1_000_000);
    expect(bound({ ...long, anthropic_beta: ['context-1m-2025-08-07'] }, sonnet).inputTokens).toBe(1_000_000);
    expect(bound({ ...long, anthropic_beta: ['other'] }, sonnet).inputTokens).toBe(200_000);
  });

  it('counts images by themselves, and does not know how large documents and files are', () => {
    const withBlock = (block: object) => ({
      ...hello,
      messages: [{ role: 'user', content: [block, block] }],
    });
    const image = withBlock({ type: 'image', source: { type: 'url', url: 'https://x/y.png' } });
    expect(bound(image).inputTokens).toBe(length(image) + PROMPT_OVERHEAD + 2 * IMAGE_TOKENS);
    const document = withBlock({ type: 'document', source: { type: 'url', url: 'https://x/y.pdf' } });
    expect(bound(document, SMALL).inputTokens).toBe(200_000);
    const file = withBlock({ type: 'image', source: { type: 'file', file_id: 'file_1' } });
    expect(bound(file, SMALL).inputTokens).toBe(200_000);
  });

  it('counts tools again where they are referred to', () => {
    const tools = [{ name: 'a', description: 'x'.repeat(500), input_schema: {}, defer_loading: true }];
    const reference = { type: 'tool_reference', tool_name: 'a' };
    const content = [{ type: 'tool_result', tool_use_id: 't', content: [reference, reference] }];
    const body = { ...hello, tools, messages: [{ role: 'user', content }] };
    expect(bound(body).inputTokens).toBe(length(body) + PROMPT_OVERHEAD + 2 * length(tools));
  });

  it('may be billed as writes to a cache, by the words that ask for them', () => {
    const cached = (cache_control: object) => ({
      ...hello,
      system: [{ type: 'text', text: 'x', cache_control }],
    });
    expect(bound(cached({ type: 'ephemeral' })).cacheWrites).toBe('5m');
    expect(bound(cached({ type: 'ephemeral', ttl: '1h' })).cacheWrites).toBe('1h');
    expect(bound({ ...hello, cache_control: { type: 'ephemeral' } }).cacheWrites).toBe('5m');
  });

  it('takes a better count, and no worse one', () => {
    const cheap = bound(hello);
    expect(withPromptTokens(cheap, 100)).toMatchObject({ promptTokens: 100, inputTokens: 100 });
    expect(withPromptTokens(cheap, 1e9)).toBe(cheap);
  });
});

describe('tools at the upstream', () => {
  const client = { type: 'bash_20250124', name: 'bash' };
  const custom = { name: 'x', description: 'as of claude_20260101, "\\u0041"', input_schema: {} };

  it.each([
    ['none', [custom], 0, 0],
    ['of the client', [client, { ...custom, type: 'custom' }], 0, 0],
    ['a search whose results are filtered', [{ ...search, type: 'web_search_20260209' }, custom], 3, 3],
    ['two tools', [search, { type: 'web_fetch_20250910', name: 'web_fetch', max_uses: 4 }], 7, 3],
    ['without a limit', [{ type: 'web_search_20250305', name: 'web_search' }], 11, 50],
    ['beyond all reason', [{ ...search, max_uses: 1e15 }], 11, 1_000_000],
    ['more uses than rounds', [{ ...search, max_uses: 200 }], 11, 200],
    ['no limit that counts', [{ ...search, max_uses: 'many' }], 11, 50],
  ])('%s', (_, tools, rounds, webSearches) => {
    const body = { ...hello, tools };
    expect(bound(body, SMALL)).toMatchObject({
      serverTokens: rounds * 200_000,
      inputTokens: length(body) + PROMPT_OVERHEAD + rounds * 200_000,
      webSearches,
      cacheWrites: rounds > 0 ? '5m' : 'none',
    });
  });

  it('bring what so many searches may bring, where the upstream does nothing else', () => {
    const tools = [{ ...search, max_uses: 8 }, custom];
    const body = { ...hello, tools };
    const promptTokens = length(body) + PROMPT_OVERHEAD;
    // Nine more rounds: the results of one search, of two, of eight, of eight; and each time what was written so far.
    const results = (1 + 2 + 3 + 4 + 5 + 6 + 7 + 8 + 8) * SEARCH_RESULT_TOKENS;
    expect(bound(body)).toMatchObject({
      promptReads: 1,
      promptRereads: 9,
      serverTokens: results + 9 * 1000,
      inputTokens: 10 * promptTokens + results + 9 * 1000,
      outputTokens: 1000,
      webSearches: 8,
    });
    expect(withPromptTokens(bound(body), 500).inputTokens).toBe(10 * 500 + results + 9 * 1000);
    // Two of three searches each are six.
    expect(bound({ ...hello, tools: [search, search] }).serverTokens).toBe(
      (1 + 2 + 3 + 4 + 5 + 6 + 6) * SEARCH_RESULT_TOKENS + 7 * 1000,
    );
  });

  it.each([
    ['without a limit', [{ ...search, max_uses: undefined }], {}],
    ['more often than there are rounds', [{ ...search, max_uses: 11 }], {}],
    ['beside a fetch', [search, { type: 'web_fetch_20250910', name: 'web_fetch', max_uses: 1 }], {}],
    ['beside servers', [search], { mcp_servers: [{ type: 'url', url: 'https://x' }] }],
    ['of another version', [{ ...search, type: 'web_search_20260209' }], {}],
    ['of a prompt that is all but the window', [search], { system: 'x'.repeat(990_000) }],
  ])('have the whole window for each round where a search is %s', (_, tools, more) => {
    const { promptRereads, serverTokens, serverRounds } = bound({ ...hello, ...more, tools });
    expect({ promptRereads, serverTokens }).toEqual({
      promptRereads: 0,
      serverTokens: serverRounds * 1_000_000,
    });
  });

  it('may be lowered in number', () => {
    const request = boundRequest({ ...hello, tools: [{ ...search, max_uses: 8 }] });
    const lowered = boundOf(request, LARGE, { searches: 2, maxTokens: 100 });
    expect(lowered).toEqual({
      ...boundOf(boundRequest({ ...hello, max_tokens: 100, tools: [{ ...search, max_uses: 2 }] }), LARGE),
      promptTokens: lowered.promptTokens,
      inputTokens: lowered.inputTokens,
    });
    expect(boundOf(request, LARGE, { searches: 9 })).toEqual(boundOf(request, LARGE));
  });

  it('may ask a model that answers at any length', () => {
    const advisor = { type: 'advisor_20260301', name: 'advisor', model: 'claude-fable-5', max_uses: 2 };
    // Sampled again with what each use brings, and the advisor reads the conversation as often.
    expect(bound({ ...hello, tools: [advisor] }, SMALL)).toMatchObject({
      serverTokens: 2 * 200_000 + 2 * 1_000_000,
      outputTokens: 1000 + 2 * 128_000,
    });
    const brief = { ...advisor, max_tokens: 2048 };
    expect(bound({ ...hello, tools: [brief] }, SMALL).outputTokens).toBe(1000 + 2 * 2048);
    expect(bound({ ...hello, tools: [{ type: 'conjure_20290101', name: 'x' }] }, SMALL)).toMatchObject({
      serverTokens: 11 * 200_000 + 11 * 1_000_000,
      outputTokens: 1000 + 11 * 128_000,
    });
  });

  it('may be other servers', () => {
    expect(bound({ ...hello, mcp_servers: [{ type: 'url', url: 'https://x' }] }, SMALL).serverTokens).toBe(
      11 * 200_000,
    );
    for (const mcp_servers of [[], null]) {
      expect(bound({ ...hello, mcp_servers }, SMALL).serverTokens).toBe(0);
    }
  });
});

describe('fallbacks', () => {
  it('may each be billed for what they read and wrote', () => {
    const body = { ...hello, fallbacks: [{ model: LARGE }, { model: SMALL, max_tokens: 50 }] };
    const { promptTokens, inputTokens, outputTokens, answers } = bound(body);
    expect(promptTokens).toBe(length(body) + PROMPT_OVERHEAD);
    expect(inputTokens).toBe(3 * promptTokens);
    expect(outputTokens).toBe(1000 + 1000 + 50);
    expect(answers).toBe(2);
    const once = bound({ ...hello, tools: [search] });
    const thrice = bound({ ...body, tools: [search] });
    expect(thrice).toMatchObject({ webSearches: 3 * 3, serverTokens: 3 * once.serverTokens });
    // What a fallback writes between its searches, it reads again.
    const longer = bound({
      ...body,
      max_tokens: 50,
      fallbacks: [{ model: SMALL, max_tokens: 1000 }],
      tools: [search],
    });
    expect(longer.serverTokens).toBe(2 * once.serverTokens);
    expect(bound(body, SMALL).inputTokens).toBe(3 * promptTokens);
    expect(bound({ ...body, messages: ['y'.repeat(300_000)] }, SMALL).promptTokens).toBeGreaterThan(300_000);
  });

  it('may be what the upstream chooses, with the large window', () => {
    const body = { ...hello, fallbacks: 'default', messages: ['y'.repeat(300_000)] };
    const { promptTokens, inputTokens, outputTokens } = bound(body, SMALL);
    expect(promptTokens).toBeGreaterThan(300_000);
    expect([inputTokens, outputTokens]).toEqual([2 * promptTokens, 2000]);
    expect(asksUnknownModel(boundRequest(body))).toBe(true);
    expect(asksUnknownModel(boundRequest({ ...body, fallbacks: [{ model: LARGE }] }))).toBe(false);
    expect(bound({ ...hello, fallbacks: null })).toEqual({
      ...bound({ ...hello, fallbacks: [] }),
      ...{ inputTokens: length({ ...hello, fallbacks: null }) + PROMPT_OVERHEAD },
      promptTokens: length({ ...hello, fallbacks: null }) + PROMPT_OVERHEAD,
    });
  });

  it.each([
    [{ model: LARGE, speed: 'fast' }, true],
    [{ model: LARGE, speed: 7 }, true],
    [{ model: LARGE, speed: 'standard' }, false],
    [{ model: LARGE, speed: null }, false],
    [{ model: LARGE }, false],
  ])('%j may be in fast mode: %s', (fallback, fastMode) => {
    expect(bound({ ...hello, fallbacks: [fallback] }).fastMode).toBe(fastMode);
  });
});

describe('a tool that asks a model', () => {
  it('says which, or may ask any', () => {
    const asks = (tool: object): boolean => asksUnknownModel(boundRequest({ ...hello, tools: [tool] }));
    expect(asks({ type: 'advisor_20260301', name: 'advisor', model: LARGE })).toBe(false);
    expect(asks({ type: 'advisor_20260301', name: 'advisor' })).toBe(true);
    expect(asks({ type: 'oracle_20290101', name: 'oracle' })).toBe(true);
    expect(asks(search)).toBe(false);
    expect(asks({ type: 'bash_20250124', name: 'bash' })).toBe(false);
  });
});

describe('a place to be answered in', () => {
  it.each([
    ['us', true],
    ['US', true],
    ['mars', true],
    [7, true],
    [['global'], true],
    ['x'.repeat(70_000), true],
    ['global', false],
    [null, false],
    [undefined, false],
  ])('%j costs more: %s', (place, usInference) => {
    expect(bound({ ...hello, inference_geo: place }).usInference).toBe(usInference);
  });
});

describe('what the upstream has kept itself', () => {
  it.each<[object, boolean]>([
    [{ thread: { type: 'continue', previous_message_id: 'm' } }, true],
    [{ thread: { type: 'create', previous_message_id: 'm' } }, true],
    [{ thread: 7 }, true],
    [{ thread: { type: 'create' } }, false],
    [{ thread: null }, false],
    [{ container: { skills: [{ type: 'anthropic', skill_id: 'pdf' }] } }, true],
    [{ container: 'container_1' }, false],
    [{ container: null }, false],
  ])('%j has no bound but the window, whatever is counted: %s', (change, hidden) => {
    const request = boundRequest({ ...hello, ...change });
    const first = boundOf(request, SMALL);
    expect(first.promptTokens === 200_000).toBe(hidden);
    expect(countedBound(first, request, 1).promptTokens === 200_000).toBe(hidden);
    const memory = createConversationMemory();
    memory.remember('c', request, 5);
    expect(memory.promptTokens('c', request) === undefined).toBe(hidden);
  });
});

describe('compaction at the upstream', () => {
  const managed = (...types: string[]) => ({
    ...hello,
    context_management: { edits: types.map((type) => ({ type })) },
  });
  const compacts = { promptReads: 2, answers: 2, outputTokens: 2000 };

  it('may be asked for by itself', () => {
    const body = { ...hello, compaction: { type: 'summarize' } };
    expect(bound(body)).toMatchObject({ promptReads: 2, answers: 2 });
    expect(bound({ ...body, compaction: null })).toMatchObject({ promptReads: 1, answers: 1 });
  });

  it('may stand in edits that are too long to be read', () => {
    const edits = [{ type: 'clear_thinking_20251015', keep: 'all', x: 'y'.repeat(70_000) }];
    expect(bound({ ...hello, context_management: { edits } })).toMatchObject({ promptReads: 2 });
  });

  it('is no matter of edits that only leave something out', () => {
    const cleared = managed('clear_thinking_20251015', 'clear_tool_uses_20250919');
    for (const body of [cleared, managed(), { ...hello, context_management: null }]) {
      expect(bound(body)).toMatchObject({ promptReads: 1, answers: 1, serverTokens: 0, outputTokens: 1000 });
      expect(bound(body).inputTokens).toBe(length(body) + PROMPT_OVERHEAD);
    }
  });

  it('reads the prompt once more, and writes a summary that is read again', () => {
    const body = managed('clear_thinking_20251015', 'compact_20260112');
    expect(bound(body)).toMatchObject({
      ...compacts,
      serverTokens: 1000,
      inputTokens: 2 * (length(body) + PROMPT_OVERHEAD) + 1000,
    });
    expect(withPromptTokens(bound(body), 100)).toMatchObject({ promptTokens: 100, inputTokens: 1200 });
    expect(bound({ ...body, max_tokens: undefined }).outputTokens).toBe(2 * 128_000);
  });

  it('may come before each round of tools', () => {
    const tools = [{ type: 'web_search_20250305', name: 'web_search', max_uses: 3 }];
    const body = { ...managed('compact_20260112'), tools };
    expect(bound(body, SMALL)).toMatchObject({
      promptReads: 2,
      serverRounds: 3,
      serverTokens: 6 * 200_000 + 1000,
      answers: 5,
      outputTokens: 5000,
    });
    const advised = { ...body, tools: [{ type: 'advisor_20260301', name: 'advisor', max_uses: 2 }] };
    // Two rounds of the model and its compactions, and the advisor reads twice.
    expect(bound(advised, SMALL)).toMatchObject({
      serverTokens: 4 * 200_000 + 2 * 1_000_000 + 1000,
      answers: 4,
    });
  });

  it.each([
    ['unknown edits', '{"edits":[{"type":"condense_20270101"}]}'],
    ['escapes in the type', '{"edits":[{"type":"c\\u006fmpact_20260112"}]}'],
    ['escapes in a name', '{"\\u0065dits":[{"type":"compact_20260112"}]}'],
    ['a type that stands twice', '{"edits":[{"type":"compact_20260112","type":"clear_thinking_20251015"}]}'],
    ['edits that stand twice', '{"edits":[{"type":"comp\\u0061ct_20260112"}],"edits":[]}'],
    ['edits that are no list', '{"edits":{"type":"compact_20260112"}}'],
    ['what cannot be read', '{"edits":[{"type":"\\x"}]}'],
    ['another type', '"compact_20260112"'],
  ])('is taken for possible with %s', (_, management) => {
    const plain = JSON.stringify({ ...hello, context_management: 0 });
    const { start, end } = boundRequest(plain).fields.context_management ?? { start: 0, end: 0 };
    const body = Buffer.from(plain.slice(0, start) + management + plain.slice(end));
    const { fields, ...request } = boundRequest(plain);
    const context_management = { start, end: start + management.length };
    expect(boundOf({ ...request, body, fields: { ...fields, context_management } }, LARGE)).toMatchObject(
      compacts,
    );
  });
});

describe('the output of a request', () => {
  it.each([
    [32_000, 32_000],
    [0, 0],
    [1.5, 2],
    [5_000_000, 200_000],
    ['32000', 128_000],
    [null, 128_000],
    [-1, 128_000],
    [true, 128_000],
    [undefined, 128_000],
  ])('with max_tokens %j is at most %d', (max_tokens, outputTokens) => {
    expect(bound({ ...hello, max_tokens }, SMALL).outputTokens).toBe(outputTokens);
  });

  it('may be in fast mode when the request names a speed other than the standard', () => {
    expect(bound({ ...hello, speed: 'fast' }).fastMode).toBe(true);
    expect(bound({ ...hello, speed: 'faster' }).fastMode).toBe(true);
    expect(bound({ ...hello, speed: 'standard' }).fastMode).toBe(false);
  });

  it('is what max_tokens says', () => {
    expect(maxTokensOf(boundRequest(hello))).toBe(1000);
    expect(maxTokensOf(boundRequest('{"max_tokens":Infinity}'.replace('Infinity', '-2')))).toBeUndefined();
  });
});

describe('countedBound', () => {
  const withBlock = (block: object) => ({
    ...hello,
    system: 'x'.repeat(10_000),
    messages: [{ role: 'user', content: [block] }],
  });

  it('adds a margin to the upstream’s count', () => {
    const request = boundRequest(withBlock({ type: 'text', text: 'x' }));
    expect(countedBound(boundOf(request, LARGE), request, 2000)).toMatchObject({
      promptTokens: 2612,
      inputTokens: 2612,
    });
  });

  it('leaves the work of tools at the upstream in', () => {
    const request = boundRequest({
      ...withBlock({ type: 'text', text: 'x' }),
      tools: [{ type: 'web_fetch_20250910', name: 'web_fetch', max_uses: 1 }],
    });
    expect(countedBound(boundOf(request, SMALL), request, 2000).inputTokens).toBe(200_000 + 2612);
  });

  it('does not trust the count of what an address may change', () => {
    const document = boundRequest(withBlock({ type: 'document', source: { type: 'url', url: 'https://x' } }));
    const cheap = boundOf(document, LARGE);
    expect(countedBound(cheap, document, 2000)).toBe(cheap);
    const image = boundRequest(withBlock({ type: 'image', source: { type: 'url', url: 'https://x' } }));
    expect(countedBound(boundOf(image, LARGE), image, 2000).promptTokens).toBe(2612 + IMAGE_TOKENS * 1);
    const inline = boundRequest(withBlock({ type: 'document', source: { type: 'base64', data: 'x' } }));
    expect(countedBound(boundOf(inline, LARGE), inline, 2000).promptTokens).toBe(2612);
  });
});
