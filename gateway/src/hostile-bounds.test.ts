import { describe, expect, it } from '@jest/globals';
import { fits, shrinkOutput } from './spend/bound/shrink-output.ts';
import { boundOf, type BodyBound } from './spend/bound/body-bound.ts';
import { createConversationMemory } from './spend/bound/conversation-memory.ts';
import { countedBound } from './spend/bound/counted-bound.ts';
import type { BoundRequest } from './spend/bound/request.ts';
import { serverToolsOf } from './spend/bound/server-tools.ts';
import { createPriceBook } from './spend/prices/price-book.ts';
import { ratesOfCall } from './spend/prices/rates-of-call.ts';
import { seededBelow } from './testing/random.ts';
import { scanBody } from './upstream/body-scanner.ts';

/** What nobody means, as JSON text. */
const VALUES = [
  '0', '-0', '-1', '0.5', '1.5', '1e15', '9007199254740993', '1e21', '1e308', '1e999', '-1e999', '1e-400', '4096',
  'null', 'true', '""', '"5"', '"fast"', '"us"', '"global"', '"default"', '"compact_20260112"', '[]', '[null]', '{}',
  '[{}]', '{"type":null}', '[[[]]]', '"\\ud800"', '"\\u0000"', '{"edits":[{"type":"compact_20260112"}]}',
  '{"type":"enabled","budget_tokens":1e300}', '{"type":"enabled","budget_tokens":-5}', '"web_search_20250305"', '"__proto__"',
]; // prettier-ignore
const MEMBERS = [
  'max_tokens', 'stream', 'speed', 'thinking', 'context_management', 'mcp_servers', 'anthropic_beta', 'inference_geo',
  'system', 'tools', 'messages', 'fallbacks', 'compaction', 'container', 'thread', 'output_config', 'tags', 'x',
]; // prettier-ignore
const TYPES = [
  'web_search_20250305',
  'web_fetch_20250910',
  'advisor_20260301',
  'oracle_20290101',
  'custom',
  'mcp_toolset',
  '',
  'x',
];
const WORDS = [
  '1h',
  'url',
  'image',
  'file_id',
  'document',
  'cache_control',
  'tool_reference',
  'tool_definition',
];

const MODELS = ['claude-opus-4-8', 'claude-haiku-4-5', 'claude-fable-5', 'nobody-knows-it'];
const prices = createPriceBook({ pricing: undefined });

function hostileBody(random: (below: number) => number): string {
  const pick = <T>(items: readonly T[]): T => items[random(items.length)] as T;
  const some = (most: number, make: () => string): string =>
    Array.from({ length: random(most + 1) }, make).join(',');
  const part = (): string => {
    const names = ['type', 'max_uses', 'max_tokens', 'speed', 'name'].filter(() => random(2) === 0);
    return `{${names.map((name) => `"${name}":${name === 'type' ? JSON.stringify(pick(TYPES)) : pick(VALUES)}`).join(',')}}`;
  };
  const members = MEMBERS.filter(() => random(3) === 0).map((name) => {
    const special = random(3) > 0;
    if (special && (name === 'tools' || name === 'fallbacks')) return `"${name}":[${some(4, part)}]`;
    if (special && name === 'messages') {
      return `"messages":[${some(5, () => `{"content":"${pick(WORDS)}","definition":${part()}}`)}]`;
    }
    return `"${name}":${pick(VALUES)}`;
  });
  return `{"model":"m"${members.map((member) => `,${member}`).join('')}}`;
}

/** Also of bodies that are refused before a bound is asked for. */
function requestOf(text: string): BoundRequest {
  const body = Buffer.from(text);
  const scan = scanBody(body);
  if (typeof scan === 'string') throw new Error(`${scan}: ${text}`);
  return { ...scan, body, otherModels: [], headers: {} };
}

/** Whatever PostgreSQL and BigInt can take. */
function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}

function expectCounts(bound: BodyBound, text: string): void {
  for (const [name, value] of Object.entries(bound)) {
    if (typeof value !== 'number' || isCount(value)) continue;
    throw new Error(`${name} is ${value} of ${text}`);
  }
}

describe('the bound of a body that nobody would send', () => {
  it('is whole numbers of a safe size, and so is all that is made of it', () => {
    const random = seededBelow(20_261_129);
    const pick = <T>(items: readonly T[]): T => items[random(items.length)] as T;
    const memory = createConversationMemory();
    let shrunken = 0;
    for (let i = 0; i < 4000; i++) {
      const text = hostileBody(random);
      const request = requestOf(text);
      const model = pick(MODELS);
      const bound = boundOf(request, model);
      expectCounts(bound, text);
      expectCounts(countedBound(bound, request, random(1_000_000)), text);
      for (const { maxUses, maxTokens } of serverToolsOf(request)) {
        if ((maxUses ?? 1) < 1 || !isCount(maxUses ?? 1)) throw new Error(`${maxUses} uses in ${text}`);
        if (!isCount(maxTokens ?? 1)) throw new Error(`${maxTokens} tokens in ${text}`);
      }
      memory.remember('c', request, 1 + random(1_000_000));
      const remembered = memory.promptTokens('c', requestOf(hostileBody(random)));
      if (remembered !== undefined && !isCount(remembered)) throw new Error(`${remembered} after ${text}`);

      const rates = ratesOfCall({ request, model, candidates: [{ upstream: { name: 'u' }, model }] }, prices);
      const ceilings = rates.map((rate) => rate.ceiling(bound));
      if (ceilings.some((ceiling) => ceiling < 0n)) throw new Error(`${ceilings.join()} for ${text}`);
      const [most = 0n] = ceilings.toSorted((a, b) => (a < b ? 1 : -1));
      const left = { nanoUsd: (most * BigInt(random(100))) / 100n };
      const result = shrinkOutput({ request, bound, rates, left, floor: 1 });
      if (result.state !== 'shrunk') continue;
      shrunken++;
      expectCounts(result.bound, text);
      if (!isCount(result.maxTokens)) throw new Error(`max_tokens ${result.maxTokens} for ${text}`);
      JSON.parse(result.body.toString());
      if (!fits(result.bound, rates, left)) throw new Error(`does not fit: ${text}`);
    }
    expect(shrunken).toBeGreaterThan(50);
  });

  it('is never less for a number that is larger', () => {
    const random = seededBelow(7);
    for (let i = 0; i < 500; i++) {
      const text = hostileBody(random).replace(
        /"max_(tokens|uses)":(?:[-+.\w]+|"[^"]*")/g,
        (_, name: string) => `"max_${name}":#`,
      );
      const at = (number: string): BodyBound =>
        boundOf(requestOf(text.replaceAll('#', number)), 'claude-opus-4-8');
      const [small, large, huge] = [at('3'), at('9'), at('1e300')] as const;
      for (const name of ['inputTokens', 'outputTokens', 'webSearches'] as const) {
        if (small[name] > large[name] || large[name] > huge[name]) throw new Error(`${name} of ${text}`);
      }
    }
  });
});
