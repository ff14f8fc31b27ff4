import type { BudgetUnit, UsageRecord } from '../ledger/types.ts';
import { newUsage } from './ledger.ts';

/** mulberry32: the same numbers for the same seed. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const NUMBERS = [
  0,
  -0,
  1,
  -1,
  0.5,
  1e15 + 0.5,
  2 ** 31,
  2 ** 53,
  2 ** 63,
  2 ** 64,
  1e21,
  1e308,
  Infinity,
  -Infinity,
  NaN,
];
const AMOUNTS = [
  0n,
  1n,
  -1n,
  10n ** 9n,
  2n ** 61n,
  2n ** 62n,
  2n ** 63n - 1n,
  2n ** 63n,
  2n ** 64n,
  10n ** 40n,
];
const TEXTS = [
  '',
  'ada',
  'ada\0',
  '\0',
  '\ud800',
  'a\udc00b',
  '\\u0000',
  "'; DROP TABLE x; --",
  '{"a":1}',
  '{ada,NULL}',
  '"',
  '\u212a',
  '\u202e',
  '🦊'.repeat(300),
  '\ufeff',
  ' \t\n\r\v\f',
];
const TIMES = [
  0,
  -1,
  1,
  8.64e15,
  -8.64e15,
  NaN,
  Date.UTC(9999, 11, 31),
  Date.UTC(10_000, 0, 1),
  Date.UTC(-1, 0, 1),
];

/** What nobody means well with, from one seed. */
export class Hostile {
  readonly random: () => number;

  constructor(seed: number) {
    this.random = seededRandom(seed);
  }

  pick<T>(choices: readonly T[]): T {
    return choices[Math.floor(this.random() * choices.length)]!;
  }

  number(): number {
    return this.random() < 0.3 ? Math.floor(this.random() * 1_000) : this.pick(NUMBERS);
  }

  amount(): bigint {
    return this.random() < 0.3 ? BigInt(Math.floor(this.random() * 1_000)) : this.pick(AMOUNTS);
  }

  /** Half of the long ones cannot be compressed. */
  text(): string {
    if (this.random() < 0.8) return this.pick(TEXTS);
    const length = 1_000 + Math.floor(this.random() * 20_000);
    if (this.random() < 0.5) return 'x'.repeat(length);
    return Array.from({ length }, () => String.fromCharCode(Math.floor(this.random() * 0x10000))).join('');
  }

  texts(): string[] {
    return Array.from({ length: Math.floor(this.random() * 6) }, () => this.text());
  }

  time(): Date {
    return new Date(this.pick(TIMES));
  }

  unit(): BudgetUnit {
    return this.pick(['nano_usd', 'tokens', 'tokens_with_cache_reads']);
  }

  /** A usage record of which some part is as it should be. */
  record(overrides: Partial<UsageRecord> = {}): UsageRecord {
    const hostile = {
      requestId: this.text(),
      sub: this.text(),
      email: this.text(),
      name: this.text(),
      groups: this.texts(),
      model: this.text(),
      upstream: this.pick([null, this.text()]),
      inputTokens: this.number(),
      outputTokens: this.number(),
      cacheReadTokens: this.number(),
      cacheWrite5mTokens: this.number(),
      cacheWrite1hTokens: this.number(),
      webSearches: this.number(),
      costNanoUsd: this.amount(),
      status: this.number(),
      admittedAt: this.time(),
      firstByteMs: this.pick([null, this.number()]),
      durationMs: this.number(),
    };
    const some = Object.entries(hostile).filter(() => this.random() < 0.6);
    return newUsage({ ...(Object.fromEntries(some) as Partial<UsageRecord>), ...overrides });
  }
}
