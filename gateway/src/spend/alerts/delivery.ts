import type { AlertStore, ClaimedAlert } from '@claude-gateway/prisma';
import { createAgent, createFetch, type FetchFunction, type ProxyOptions } from '../../net/http-client.ts';
import type { Log } from '../../observe/log.ts';
import type { Dispatcher } from 'undici';
import { cloudEventOf } from './event.ts';
import { postEvent, type AlertWebhook } from './webhook.ts';

export interface DeliveryTimes {
  /** How often is looked for alerts of others that are due, in ms. */
  readonly pollMs: number;
  /** Until the second try, in ms; each further pause is twice as long, up to `longestPauseMs`. */
  readonly firstPauseMs: number;
  readonly longestPauseMs: number;
  /** From when it was raised, in ms. */
  readonly giveUpMs: number;
  readonly timeoutMs: number;
  /** What a try under way is given when the process ends, in ms. */
  readonly closeMs: number;
}

export const DELIVERY_TIMES: DeliveryTimes = {
  pollMs: 10_000,
  firstPauseMs: 5_000,
  longestPauseMs: 3_600_000,
  giveUpMs: 86_400_000,
  timeoutMs: 10_000,
  closeMs: 2_000,
};

const BATCH = 20;
const MAX_RESPONSE_BYTES = 1_048_576;

export interface DeliveryDependencies {
  readonly store: Pick<AlertStore, 'claim' | 'finish'>;
  readonly webhooks: readonly AlertWebhook[];
  /** `source` of the events: the public URL. */
  readonly source: string;
  readonly log: Log;
  readonly clock: () => Date;
  readonly userAgent: string;
  /** CLAUDE_GATEWAY_ALLOW_LOOPBACK. */
  readonly allowLoopback: boolean;
  readonly proxy?: ProxyOptions;
  readonly times?: Partial<DeliveryTimes>;
}

/**
 * Brings alerts to the webhooks: whichever replica comes first takes one, for a while, so that each is delivered by one
 * of them, and by another should that one die. At least once; receivers know repeats by their id.
 */
export class AlertDelivery {
  readonly #deps: DeliveryDependencies;
  readonly #times: DeliveryTimes;
  readonly #agent: Dispatcher;
  readonly #fetch: FetchFunction;
  readonly #breakOff = new AbortController();
  #closed = false;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  #again = false;

  constructor(deps: DeliveryDependencies) {
    this.#deps = deps;
    this.#times = { ...DELIVERY_TIMES, ...deps.times };
    this.#agent = createAgent({
      allowLoopback: deps.allowLoopback,
      ...(deps.proxy === undefined ? {} : { proxy: deps.proxy }),
      connectTimeoutMs: this.#times.timeoutMs,
      headersTimeoutMs: this.#times.timeoutMs,
      bodyTimeoutMs: this.#times.timeoutMs,
      maxResponseBytes: MAX_RESPONSE_BYTES,
    });
    this.#fetch = createFetch(this.#agent);
    this.#schedule();
  }

  /** There is something new. */
  wake(): void {
    if (this.#closed) return;
    this.#again = true;
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
      if (this.#again) this.wake();
      else this.#schedule();
    });
  }

  /** Gives what is under way a moment, then breaks it off, so that another replica can take it. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    const late = setTimeout(() => this.#breakOff.abort(), this.#times.closeMs);
    await this.#running;
    clearTimeout(late);
    await this.#agent.close();
  }

  #schedule(): void {
    clearTimeout(this.#timer);
    if (this.#closed) return;
    this.#timer = setTimeout(() => this.wake(), this.#times.pollMs * (0.75 + Math.random() / 2)).unref();
  }

  async #run(): Promise<void> {
    const { store, log } = this.#deps;
    try {
      while (this.#again && !this.#closed) {
        this.#again = false;
        // Longer than a try can take.
        const alerts = await store.claim({ leaseMs: 6 * this.#times.timeoutMs, limit: BATCH });
        await Promise.all(alerts.map((alert) => this.#deliver(alert)));
        if (alerts.length === BATCH) this.#again = true;
      }
    } catch (error) {
      log.warn({ reason: (error as Error).message }, 'cannot deliver alerts now');
    }
  }

  async #deliver(alert: ClaimedAlert): Promise<void> {
    const { store, webhooks, source, log, clock, userAgent } = this.#deps;
    const event = cloudEventOf(alert, source);
    const due = webhooks.filter(({ name }) => !alert.deliveredTo.includes(name));
    const results = await Promise.all(
      due.map((webhook) =>
        postEvent(webhook, event, {
          fetch: this.#fetch,
          now: clock(),
          userAgent,
          signal: AbortSignal.any([this.#breakOff.signal, AbortSignal.timeout(this.#times.timeoutMs)]),
        }),
      ),
    );
    const failed = due.flatMap(({ name }, index) =>
      results[index] === null ? [] : [{ name, reason: results[index] }],
    );
    const isOver = clock().getTime() - alert.raisedAt.getTime() >= this.#times.giveUpMs;
    const isBrokenOff = this.#breakOff.signal.aborted;
    for (const { name, reason } of isBrokenOff ? [] : failed) {
      const fields = { webhook: name, event: event.id, attempt: alert.attempts, reason };
      if (isOver) log.error(fields, 'a webhook did not take an alert; giving up');
      else log.warn(fields, 'a webhook did not take an alert; trying again');
    }
    await store.finish(alert, {
      deliveredTo: due.filter((_, index) => results[index] === null).map(({ name }) => name),
      retryAfterMs:
        failed.length === 0 || (isOver && !isBrokenOff)
          ? null
          : isBrokenOff
            ? 0
            : this.#pause(alert.attempts),
    });
  }

  /** Grows, with some chance so that many do not come at once. */
  #pause(attempts: number): number {
    const { firstPauseMs, longestPauseMs } = this.#times;
    const pause = Math.min(firstPauseMs * 2 ** Math.min(attempts - 1, 30), longestPauseMs);
    return Math.round(pause * (0.8 + 0.4 * Math.random()));
  }
}
