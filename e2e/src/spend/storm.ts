import { setTimeout as sleep } from 'node:timers/promises';
import type { PoolMode } from '@claude-gateway/dev';
import { budgetsOf, type Developer } from './caps.ts';
import { Client, type Ask, type Got } from './client.ts';
import { startFleet, type Fleet, type Replica } from './fleet.ts';
import { LedgerObserver } from './ledger-observer.ts';
import {
  startMeteredUpstream,
  type AnswerPlan,
  type MeteredUpstream,
  type Testimony,
} from './metered-upstream.ts';
import { Random } from './random.ts';
import { startLiars, type Liars } from './storm-liar.ts';
import { planStorm, type StormPlan } from './storm-plan.ts';

export interface StormOptions {
  readonly seed: number;
  readonly requests: number;
  /** Requests under way at the same time. */
  readonly concurrency: number;
  readonly replicas: number;
  /** Replicas are killed, PostgreSQL is restarted, the network breaks, upstreams fail, clients go away. */
  readonly trouble: boolean;
  /** Some of the developers lie, for as long as the storm rages. */
  readonly liars?: boolean;
  readonly program?: 'ours' | 'reference';
  readonly config?: Record<string, unknown>;
  /** A connection pooler in front of PostgreSQL. */
  readonly pooler?: PoolMode;
}

/** One request of a storm, from its developer's side. */
export interface Exchange {
  readonly ask: Ask;
  readonly developer: Developer;
  readonly replica: Replica;
  readonly got: Got;
}

/** From when to when something was broken on purpose: `performance.now()`. */
export interface Disturbance {
  readonly what: string;
  readonly from: number;
  readonly to: number;
}

/** A storm that has passed, with everything still running. */
export interface Storm {
  readonly plan: StormPlan;
  readonly fleet: Fleet;
  readonly upstream: MeteredUpstream;
  readonly observer: LedgerObserver;
  readonly exchanges: Exchange[];
  readonly liars: Liars | undefined;
  readonly disturbances: readonly Disturbance[];
  /** Seconds that the requests took. */
  readonly seconds: number;
  /** Asks for more, afterwards. The answer's plan is for this request. */
  ask(replica: Replica, developer: Developer, ask: Ask, answer: AnswerPlan): Promise<Got>;
  /** A number that no request has had. */
  nextIndex(): number;
  stop(): Promise<void>;
}

const LIES_AT_A_TIME = 8;
/** How long until a new cap is in force everywhere, at the latest. */
const ENFORCED_WITHIN_MS = 3_000;

/** Starts everything, sets the caps, lets the storm rage, and mends what was broken. */
export async function runStorm(
  options: StormOptions & { readonly onSent?: (testimony: Testimony, storm: StormPlan) => void },
): Promise<Storm> {
  const isOurs = options.program !== 'reference';
  const plan = planStorm({ ...options, plainCapsOnly: !isOurs });
  const later = new Map<number, AnswerPlan>();
  const liars = options.liars === true ? await startLiars(new Random(options.seed + 3)) : undefined;
  const upstream = await startMeteredUpstream({
    plan: (index) => {
      const answer = plan.requests[index]?.answer ?? later.get(index);
      if (answer === undefined) throw new Error(`nothing planned for request ${index}`);
      return answer;
    },
    ...(liars === undefined ? {} : { otherwise: (...asked) => liars.cloud.handle(...asked) }),
    onSent: (testimony) => options.onSent?.(testimony, plan),
  });
  const fleet = await startFleet({
    replicas: options.replicas,
    upstreamUrl: upstream.url,
    program: options.program ?? 'ours',
    ...(options.config === undefined ? {} : { config: options.config }),
    ...(options.pooler === undefined ? {} : { pooler: options.pooler }),
  }).catch(async (error: unknown) => {
    await upstream.stop();
    await liars?.cloud.stop();
    throw error;
  });
  const client = new Client();
  const stop = async (): Promise<void> => {
    client.close();
    await fleet.stop();
    await upstream.stop();
    await liars?.cloud.stop();
  };
  try {
    const observer = new LedgerObserver(fleet.databaseUrl);
    if (isOurs) await observer.install(plan.developers.flatMap((one) => budgetsOf(one, plan.caps)));
    for (const cap of plan.caps) await fleet.admin.set(cap);
    await sleep(ENFORCED_WITHIN_MS);

    const bearers = new Map(plan.developers.map((one) => [one.sub, fleet.bearer(one)]));
    const exchanges: Exchange[] = [];
    const disturbances: Disturbance[] = [];
    const random = new Random(options.seed + 1);
    const troubles = options.trouble ? troublesOf(random, fleet, disturbances) : [];
    const running: Promise<void>[] = [];
    const startedAt = performance.now();
    let next = 0;
    const pick = (): Replica => {
      const up = fleet.replicas.filter((replica) => replica.up);
      return random.pick(up.length === 0 ? fleet.replicas : up);
    };
    const worker = async (): Promise<void> => {
      for (;;) {
        const request = plan.requests[next++];
        if (request === undefined) return;
        while (troubles[0] !== undefined && next / plan.requests.length > troubles[0].at) {
          running.push(troubles.shift()?.happen() as Promise<void>);
        }
        const replica = pick();
        const { ask, developer } = request;
        const got = await client.ask(replica.url, bearers.get(developer.sub) ?? '', ask);
        exchanges.push({ ask, developer, replica, got });
        // Somebody whose gateway does not answer waits a moment before asking the next thing.
        if (got.status === 0) await sleep(50);
      }
    };
    let isOver = false;
    for (let i = 0; liars !== undefined && i < LIES_AT_A_TIME; i++) {
      running.push(liars.lie(client, bearers, pick, () => isOver));
    }
    await Promise.all(Array.from({ length: options.concurrency }, worker));
    isOver = true;
    await Promise.all(running);
    const seconds = (performance.now() - startedAt) / 1000;

    let last = plan.requests.length;
    return {
      plan,
      fleet,
      upstream,
      observer,
      exchanges,
      liars,
      disturbances,
      seconds,
      nextIndex: () => last++,
      async ask(replica, developer, ask, answer) {
        later.set(ask.index, answer);
        const got = await client.ask(replica.url, fleet.bearer(developer), ask);
        exchanges.push({ ask, developer, replica, got });
        return got;
      },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** A gateway does not start without PostgreSQL, which may be away just then; Kubernetes would try again, too. */
async function startAgain(replica: Replica): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await replica.start();
      return;
    } catch (error) {
      if (attempt === 5) throw error;
      await sleep(500);
    }
  }
}

interface Trouble {
  /** After which share of the requests. */
  readonly at: number;
  happen(): Promise<void>;
}

/** What goes wrong, and when: one thing after the other or at once, as the seed has it. */
function troublesOf(random: Random, fleet: Fleet, disturbances: Disturbance[]): Trouble[] {
  const during = async (what: string, happen: () => Promise<void>): Promise<void> => {
    const from = performance.now();
    await happen();
    disturbances.push({ what, from, to: performance.now() });
  };
  const killed = (): Trouble => {
    const pauseMs = random.int(100, 1500);
    const which = random.int(0, fleet.replicas.length - 1);
    return {
      at: random.next() * 0.6 + 0.05,
      happen: async () => {
        const replica = fleet.replicas[which] as Replica;
        if (!replica.up) return;
        await replica.kill();
        await sleep(pauseMs);
        await startAgain(replica);
      },
    };
  };
  const postgres = (what: 'fast' | 'immediate', at: number): Trouble => {
    const pauseMs = random.int(0, 1000);
    return {
      at,
      happen: () =>
        during(`PostgreSQL ${what}`, async () => {
          if (what === 'fast') await fleet.postgres.pause();
          else await fleet.postgres.kill();
          await sleep(pauseMs);
          await fleet.postgres.restart();
        }),
    };
  };
  const network = (mode: 'hang' | 'refuse', at: number): Trouble => {
    const forMs = random.int(200, 2000);
    return {
      at,
      happen: () =>
        during(`network: ${mode}`, async () => {
          fleet.network.set(mode);
          await sleep(forMs);
          fleet.network.set('pass');
        }),
    };
  };
  // PostgreSQL is restarted by one at a time.
  return [
    killed(),
    killed(),
    killed(),
    postgres('fast', 0.1 + random.next() * 0.1),
    network('refuse', 0.25 + random.next() * 0.1),
    postgres('immediate', 0.4 + random.next() * 0.1),
    network('hang', 0.55 + random.next() * 0.1),
  ].toSorted((a, b) => a.at - b.at);
}
