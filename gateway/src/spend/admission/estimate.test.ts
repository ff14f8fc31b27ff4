import { describe, expect, it } from '@jest/globals';
import { boundOf, IMAGE_TOKENS, withPromptTokens, type BodyBound } from '../bound/body-bound.ts';
import { boundRequest } from '../bound/testing/bound-request.ts';
import { heldOf, loweredOf, withoutPrompt } from './estimate.ts';

const MODEL = 'claude-opus-4-8';
const hello = { model: MODEL, max_tokens: 64_000, messages: [{ role: 'user', content: 'hello' }] };
const search = { type: 'web_search_20250305', name: 'web_search', max_uses: 8 };
const advisor = { type: 'advisor_20260301', name: 'advisor', max_uses: 2 };
const compaction = { edits: [{ type: 'compact_20260112' }] };
const PROMPT = 1000;
const OUTPUT = 16_384;

const boundWith = (more: object): BodyBound =>
  withPromptTokens(boundOf(boundRequest({ ...hello, ...more }), MODEL), PROMPT);
const bounded = (more: object) => heldOf('bounded', boundWith(more), OUTPUT);

describe('what a bounded cap holds', () => {
  it('is the input, and the output that is expected', () => {
    expect(bounded({})).toEqual({ ...boundWith({}), outputTokens: OUTPUT });
    expect(bounded({ max_tokens: 50 })).toEqual(boundWith({ max_tokens: 50 }));
  });

  it.each([
    ['one search', [{ ...search, max_uses: 1 }], 2 * PROMPT + 30_000, 1],
    ['up to eight', [search], 4 * PROMPT + 90_000, 3],
    ['any number', [{ ...search, max_uses: undefined }], 4 * PROMPT + 90_000, 3],
    ['fetches', [{ ...search, type: 'web_fetch_20250910', max_uses: 2 }], 3 * PROMPT + 60_000, 0],
  ])('has of server tools what is expected: %s', (_, tools, inputTokens, webSearches) => {
    expect(bounded({ tools })).toMatchObject({ inputTokens, webSearches, outputTokens: OUTPUT });
  });

  it('has the prompt again where it may be compacted', () => {
    expect(bounded({ context_management: compaction }).inputTokens).toBe(2 * PROMPT);
    expect(bounded({ context_management: compaction, tools: [search] }).inputTokens).toBe(
      5 * PROMPT + 90_000,
    );
  });

  it('is never more than a strict one holds, which is the worst case', () => {
    const image = { type: 'image', source: { type: 'base64', media_type: 'image/png', data: 'A' } };
    const document = { type: 'document', source: { type: 'url', url: 'https://x/y.pdf' } };
    for (const tools of [[], [search], [advisor], [search, advisor], [{ ...search, max_uses: 1 }]]) {
      for (const context_management of [null, compaction]) {
        for (const block of [image, document]) {
          const messages = [{ role: 'user', content: Array(IMAGE_TOKENS / 10).fill(block) }];
          const bound = boundOf(boundRequest({ ...hello, tools, context_management, messages }), MODEL);
          expect(heldOf('strict', bound, OUTPUT)).toBe(bound);
          const held = heldOf('bounded', bound, OUTPUT);
          expect(held.inputTokens).toBeLessThanOrEqual(bound.inputTokens);
          expect(held.outputTokens).toBeLessThanOrEqual(bound.outputTokens);
          expect(held.webSearches).toBeLessThanOrEqual(bound.webSearches);
        }
      }
    }
  });
});

describe('output that is lowered', () => {
  it('leaves what tools ask of other models', () => {
    expect(loweredOf(boundWith({ tools: [advisor] }), 100).outputTokens).toBe(100 + 2 * 128_000);
    expect(loweredOf(boundWith({ context_management: compaction }), 100).outputTokens).toBe(200);
    expect(loweredOf(boundWith({ max_tokens: 50 }), 100).outputTokens).toBe(50);
  });

  it('is of the least that a request could need, whatever its prompt is', () => {
    expect(withoutPrompt(boundWith({}))).toMatchObject({ inputTokens: 0, outputTokens: 64_000 });
    const fetches = [{ ...search, type: 'web_fetch_20250910' }];
    expect(withoutPrompt(boundWith({ tools: fetches }))).toMatchObject({
      inputTokens: 8_000_000,
      outputTokens: 64_000,
    });
  });
});
