import { bodyOf, type Ask } from './client.ts';
import { NANO_USD_PER_CENT, quietTimeZone, type Cap, type Developer } from './caps.ts';
import type { AnswerPlan } from './metered-upstream.ts';
import { CatalogPrices, countedTokens, type BilledTokens } from './prices.ts';
import { Random } from './random.ts';
import { LIAR_DEVELOPERS, liarCaps } from './storm-liar.ts';

export interface StormRequest {
  readonly ask: Ask;
  readonly answer: AnswerPlan;
  readonly developer: Developer;
}

/** Everything of a storm that can be said beforehand. The same seed makes the same plan. */
export interface StormPlan {
  readonly developers: readonly Developer[];
  readonly requests: readonly StormRequest[];
  readonly caps: readonly Cap[];
}

export interface StormPlanOptions {
  readonly seed: number;
  readonly requests: number;
  /** With upstreams that fail and clients that go away. */
  readonly trouble: boolean;
  /** With some among the developers who want more than their caps allow. */
  readonly liars?: boolean;
  /** Only what the reference knows too: caps in dollars for each member. */
  readonly plainCapsOnly?: boolean;
}

const TEAMS = ['team-a', 'team-b', 'team-c'] as const;
const DEVELOPERS_PER_TEAM = 10;
const MODELS = ['claude-haiku-4-5', 'claude-haiku-4-5', 'claude-sonnet-4-6', 'claude-opus-4-8'] as const;
const LARGEST_BODY = 60_000;
const LARGEST_OUTPUT = 4_000;

export function planStorm(options: StormPlanOptions): StormPlan {
  const random = new Random(options.seed);
  const developers = TEAMS.flatMap((team) =>
    Array.from({ length: DEVELOPERS_PER_TEAM }, (_, i) => ({ sub: `${team}-${i}`, groups: [team, 'staff'] })),
  );
  const requests = Array.from({ length: options.requests }, (_, index) => {
    // The first of each team ask as much as all others together.
    const team = random.pick(TEAMS);
    const member = random.chance(0.5) ? 0 : random.int(1, DEVELOPERS_PER_TEAM - 1);
    const developer = developers.find(({ sub }) => sub === `${team}-${member}`);
    const ask = askOf(index, random, options.trouble);
    return {
      ask,
      answer: answerTo(ask, random, options.trouble),
      developer: developer as Developer,
    };
  });
  const caps = capsFor(requests, options.plainCapsOnly === true);
  if (options.liars !== true) return { developers, requests, caps };
  return { developers: [...developers, ...LIAR_DEVELOPERS], requests, caps: [...caps, ...liarCaps()] };
}

function askOf(index: number, random: Random, trouble: boolean): Ask {
  const ask: Ask = {
    index,
    model: random.pick(MODELS),
    maxTokens: random.skewed(1, LARGEST_OUTPUT),
    bytes: random.skewed(300, LARGEST_BODY),
    stream: random.chance(0.7),
    cache: random.pick(['none', 'none', '5m', '1h']),
    webSearches: random.chance(0.03) ? random.int(1, 3) : 0,
    ...(trouble && random.chance(0.06) ? { abortAfterMs: random.int(5, 600) } : {}),
  };
  return { ...ask, bytes: bodyOf(ask).length };
}

/** What the model makes of it: never more than was asked for, in tokens that each have a byte at least. */
export function answerTo(ask: Ask, random: Random, trouble: boolean): AnswerPlan {
  const { cache, maxTokens, webSearches, stream } = ask;
  // A lower `max_tokens` makes the body that arrives a few bytes shorter.
  const most = ask.bytes - 8;
  let tokens: BilledTokens;
  if (random.chance(0.03)) {
    tokens = {
      input: cache === 'none' ? most : 0,
      output: maxTokens,
      cacheRead: 0,
      cacheWrite5m: cache === '5m' ? most : 0,
      cacheWrite1h: cache === '1h' ? most : 0,
      webSearches,
    };
  } else {
    const total = random.int(Math.ceil(most * 0.15), Math.ceil(most * 0.9));
    const cacheRead = cache === 'none' ? 0 : random.int(0, total);
    const written = cache === 'none' ? 0 : random.int(0, total - cacheRead);
    tokens = {
      input: total - cacheRead - written,
      output: random.int(1, maxTokens),
      cacheRead,
      cacheWrite5m: cache === '5m' ? written : 0,
      cacheWrite1h: cache === '1h' ? written : 0,
      webSearches: random.int(0, webSearches),
    };
  }
  const failure = trouble ? failureOf(random, stream) : undefined;
  return {
    tokens,
    delayMs: random.chance(0.03) ? random.int(500, 2500) : random.int(0, 120),
    streamMs: random.chance(0.04) ? random.int(1000, 3000) : random.int(0, 300),
    pieces: random.int(1, 6),
    ...(failure === undefined ? {} : { failure }),
  };
}

function failureOf(random: Random, stream: boolean): AnswerPlan['failure'] {
  const luck = random.next();
  if (luck < 0.03) return { status: 500 };
  if (luck < 0.05) return { status: 529 };
  if (luck < 0.07) return { cutAfterPieces: stream ? random.int(0, 3) : 0 };
  return undefined;
}

/** Caps that run out while the storm goes on: so many percent of what everything would cost. */
function capsFor(requests: readonly StormRequest[], plainCapsOnly: boolean): Cap[] {
  const prices = new CatalogPrices();
  // Who is served while limits cannot be read may well spend more than they allow: that is what `open` means.
  const common = plainCapsOnly ? {} : ({ timeZone: quietTimeZone(), failurePolicy: 'closed' } as const);
  const share = (percent: bigint, of: (request: StormRequest) => boolean): bigint => {
    const all = requests.filter(of).reduce((sum, { ask, answer }) => {
      return sum + prices.cost(ask.model, answer.tokens);
    }, 0n);
    return ((all * percent) / 100n / NANO_USD_PER_CENT + 1n) * NANO_USD_PER_CENT;
  };
  const tokenShare = (percent: number, of: (request: StormRequest) => boolean): bigint =>
    BigInt(
      Math.ceil(
        (requests.filter(of).reduce((sum, { answer }) => sum + countedTokens(answer.tokens), 0) * percent) /
          100,
      ),
    );
  const inTeam =
    (team: string) =>
    ({ developer }: StormRequest): boolean =>
      developer.groups.includes(team);
  const by =
    (sub: string) =>
    ({ developer }: StormRequest): boolean =>
      developer.sub === sub;
  const group = (name: string) => ({ type: 'rbac_group', group: name }) as const;
  const user = (name: string) => ({ type: 'user', user: name }) as const;
  const usd = { unit: 'nano_usd', ...common } as const;

  const plain: Cap[] = [
    { scope: group('team-c'), period: 'daily', amount: share(5n, inTeam('team-c')), ...usd },
    { scope: user('team-c-0'), period: 'daily', amount: share(30n, by('team-c-0')), ...usd },
    { scope: user('team-a-0'), period: 'daily', amount: share(50n, by('team-a-0')), ...usd },
    { scope: user('team-a-0'), period: 'monthly', amount: share(45n, by('team-a-0')), ...usd },
    { scope: { type: 'organization' }, period: 'weekly', amount: share(8n, () => true), ...usd },
  ];
  if (plainCapsOnly) return plain;
  const pooled = { pooled: true, ...usd } as const;
  const everybody = { type: 'organization' } as const;
  return [
    ...plain,
    { scope: everybody, period: 'daily', amount: share(45n, () => true), whenShort: 'refuse', ...pooled },
    {
      ...pooled,
      scope: everybody,
      period: 'monthly',
      unit: 'tokens',
      amount: tokenShare(80, () => true),
    },
    { scope: group('team-a'), period: 'daily', amount: share(50n, inTeam('team-a')), ...pooled },
    {
      ...pooled,
      scope: group('team-b'),
      period: 'monthly',
      amount: share(40n, inTeam('team-b')),
      whenShort: 'refuse',
    },
    { scope: group('team-b'), period: 'daily', amount: share(42n, inTeam('team-b')), ...pooled },
    {
      ...common,
      scope: user('team-b-0'),
      period: 'monthly',
      unit: 'tokens',
      amount: tokenShare(35, by('team-b-0')),
    },
  ];
}
