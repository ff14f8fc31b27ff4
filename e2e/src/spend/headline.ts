import { setTimeout as sleep } from 'node:timers/promises';
import { usd, type Developer } from './caps.ts';
import { bodyOf, Client, type Ask } from './client.ts';
import { startFleet } from './fleet.ts';
import { startMeteredUpstream, type AnswerPlan } from './metered-upstream.ts';
import { CatalogPrices } from './prices.ts';

/** One developer, one cap, many requests at the same time. */
export interface HeadlineOptions {
  readonly program: 'ours' | 'reference';
  /** In dollars, like `5.00`. */
  readonly cap: string;
  readonly requests: number;
  readonly replicas?: number;
}

export interface HeadlineResult {
  readonly program: 'ours' | 'reference';
  readonly capNanoUsd: bigint;
  readonly asked: number;
  readonly admitted: number;
  readonly refused: number;
  /** Anything else. */
  readonly failed: number;
  /** By the upstream's own count. */
  readonly spentNanoUsd: bigint;
  /** The highest that {@link spentNanoUsd} was over the cap at any moment; 0 when it never was. */
  readonly overshootNanoUsd: bigint;
}

/** How long until a new cap is in force, at the latest. */
const ENFORCED_WITHIN_MS = 3_000;

/** The same requests for everybody: each costs 6 cents at the list price, and could cost 11. */
const MODEL = 'claude-opus-4-8';
const BYTES = 8_000;
const MAX_TOKENS = 2_400;
const ANSWER: AnswerPlan = {
  tokens: { input: 2_000, output: 2_000, cacheRead: 0, cacheWrite5m: 0, cacheWrite1h: 0, webSearches: 0 },
  delayMs: 300,
  streamMs: 700,
  pieces: 20,
};

/** Runs the scenario once, with everything of its own. */
export async function runHeadline(options: HeadlineOptions): Promise<HeadlineResult> {
  const { program, requests } = options;
  const prices = new CatalogPrices();
  const cap = usd(options.cap);
  const sent = new Map<object, bigint>();
  let spent = 0n;
  let overshoot = 0n;
  const upstream = await startMeteredUpstream({
    plan: () => ANSWER,
    onSent: (testimony) => {
      const amount = prices.cost(testimony.model, testimony.sent);
      spent += amount - (sent.get(testimony) ?? 0n);
      sent.set(testimony, amount);
      if (spent - cap > overshoot) overshoot = spent - cap;
    },
  });
  const client = new Client();
  try {
    const fleet = await startFleet({ replicas: options.replicas ?? 1, upstreamUrl: upstream.url, program });
    try {
      await fleet.admin.set({
        scope: { type: 'organization' },
        period: 'monthly',
        unit: 'nano_usd',
        amount: cap,
      });
      await sleep(ENFORCED_WITHIN_MS);
      const developer: Developer = { sub: 'alice', groups: [] };
      const bearer = fleet.bearer(developer);
      const answers = await Promise.all(
        Array.from({ length: requests }, (_, index) => {
          const ask: Ask = {
            index,
            model: MODEL,
            maxTokens: MAX_TOKENS,
            bytes: BYTES,
            stream: true,
            cache: 'none',
            webSearches: 0,
          };
          const replica = fleet.replicas[index % fleet.replicas.length];
          return client.send(replica?.url ?? '', bearer, bodyOf(ask));
        }),
      );
      const count = (status: number): number => answers.filter((got) => got.status === status).length;
      return {
        program,
        capNanoUsd: cap,
        asked: requests,
        admitted: count(200),
        refused: count(429),
        failed: requests - count(200) - count(429),
        spentNanoUsd: spent,
        overshootNanoUsd: overshoot,
      };
    } finally {
      await fleet.stop();
    }
  } finally {
    client.close();
    await upstream.stop();
  }
}
