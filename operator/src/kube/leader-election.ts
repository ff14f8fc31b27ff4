import { setTimeout as sleep } from 'node:timers/promises';
import type { KubeClient } from './client.ts';
import { isKubeError } from './errors.ts';
import { apiVersionOf, LEASES, microTime, type KubeObject } from './objects.ts';

interface LeaseSpec {
  holderIdentity?: string;
  leaseDurationSeconds?: number;
  /** metav1.MicroTime. */
  acquireTime?: string;
  renewTime?: string;
  leaseTransitions?: number;
}

export interface Lease extends KubeObject {
  spec?: LeaseSpec;
}

export interface LeaderElectorOptions {
  readonly client: KubeClient;
  readonly namespace: string;
  /** Of the Lease. */
  readonly name: string;
  /**
   * Of this process and no other, not even its predecessor in the same pod; processes of which something else lets one stand
   * at a time may share it, and then need not wait for each other.
   */
  readonly identity: string;
  /** How long others wait after they last saw the holder renew, in ms: whole seconds. Default 15 000. */
  readonly leaseDuration?: number;
  /** After this long without a renewal the leader steps down, in ms. Default 10 000. */
  readonly renewDeadline?: number;
  /** Between tries, in ms. Default 2000. */
  readonly retryPeriod?: number;
  /** Whether `stop` gives the Lease up, instead of letting it run out. Default true. */
  readonly releaseOnStop?: boolean;
  readonly onElected: () => void;
  /** Told once, after which this elector is at its end: stop all work and exit. */
  readonly onLost: (reason: string) => void;
  /** Another holder was seen, or none (an empty text). */
  readonly onLeader?: (identity: string) => void;
  readonly onError?: (error: unknown) => void;
  readonly random?: () => number;
}

/** Another waits this much longer than retryPeriod at most, so that those who wait do not ask together. */
const JITTER = 1.2;

/**
 * One leader among several processes, by a Lease, as client-go's leaderelection does it. No clock is compared with another
 * one: those who wait measure, from when they first saw a renewal, that it stays the last. The leader counts from before it
 * asked, so it steps down before anybody else can have waited long enough. There is a gap that no lease closes: what the leader
 * asked for before it stepped down may be done afterwards; so every write must be right whoever makes it.
 */
export class LeaderElector {
  readonly #options: LeaderElectorOptions;
  readonly #leaseDuration: number;
  readonly #renewDeadline: number;
  readonly #retryPeriod: number;
  readonly #abort = new AbortController();
  #running: Promise<void> | undefined;
  #observed: Lease | undefined;
  /** Monotonic; when #observed was first seen. */
  #observedAt = 0;
  /** Monotonic; until when this process leads for certain. */
  #leadsUntil = 0;
  #elected = false;

  /** @throws Error when the three times do not fit together. */
  constructor(options: LeaderElectorOptions) {
    const { leaseDuration = 15_000, renewDeadline = 10_000, retryPeriod = 2_000, identity } = options;
    if (identity === '') throw new Error('leader election: the identity is empty');
    if (leaseDuration < 1000 || leaseDuration % 1000 !== 0)
      throw new Error(`leader election: leaseDuration is ${leaseDuration} ms, but must be whole seconds`);
    if (leaseDuration <= renewDeadline)
      throw new Error('leader election: leaseDuration must be longer than renewDeadline');
    if (retryPeriod <= 0 || renewDeadline <= JITTER * retryPeriod)
      throw new Error(`leader election: renewDeadline must be longer than ${JITTER} times retryPeriod`);
    this.#options = options;
    this.#leaseDuration = leaseDuration;
    this.#renewDeadline = renewDeadline;
    this.#retryPeriod = retryPeriod;
  }

  /**
   * Whether this process leads at this moment. Says no from the deadline on even where onLost could not be told yet,
   * because the process was frozen.
   */
  get leading(): boolean {
    return this.#elected && performance.now() < this.#leadsUntil;
  }

  /** Who holds the Lease as far as is known; empty when nobody does. */
  get leader(): string {
    return this.#observed?.spec?.holderIdentity ?? '';
  }

  /** Begins to stand for election. */
  start(): void {
    this.#running ??= this.#run();
  }

  /**
   * Stops standing, and gives the Lease up (`releaseOnStop`) so that another may take it at once. To be called after all work has ended;
   * until then the Lease is renewed. Does not tell onLost.
   */
  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#running;
    if (this.#options.releaseOnStop === false) this.#elected = false;
    if (!this.leading) return;
    try {
      await this.#release();
    } catch (error) {
      // It runs out by itself.
      this.#options.onError?.(error);
    } finally {
      this.#elected = false;
    }
  }

  async #run(): Promise<void> {
    if (!(await this.#acquire())) return;
    this.#elected = true;
    this.#options.onElected();
    const reason = await this.#keep();
    if (reason === undefined) return;
    this.#elected = false;
    this.#options.onLost(reason);
  }

  /** @returns false when stopped before. */
  async #acquire(): Promise<boolean> {
    const { random = Math.random } = this.#options;
    for (;;) {
      if (this.#abort.signal.aborted) return false;
      if (await this.#attempt(this.#renewDeadline)) return true;
      await this.#pause(this.#retryPeriod * (1 + random() * (JITTER - 1)));
    }
  }

  /** @returns why it is lost; undefined when stopped. */
  async #keep(): Promise<string | undefined> {
    for (;;) {
      await this.#pause(Math.min(this.#retryPeriod, this.#leadsUntil - performance.now()));
      if (this.#abort.signal.aborted) return undefined;
      const remaining = this.#leadsUntil - performance.now();
      if (remaining <= 0) return `the lease could not be renewed for ${this.#renewDeadline} ms`;
      if (!(await this.#attempt(remaining)) && this.leader !== this.#options.identity)
        return this.leader === '' ? 'the lease was taken away' : `${this.leader} holds the lease`;
    }
  }

  /** One try to take or renew the Lease, which leaves time for another, on another connection. @param within ms. */
  async #attempt(within: number): Promise<boolean> {
    const limit = Math.ceil(Math.min(within, this.#renewDeadline / 2));
    const signal = AbortSignal.any([this.#abort.signal, AbortSignal.timeout(limit)]);
    try {
      return await this.#takeOrRenew(signal);
    } catch (error) {
      if (!this.#abort.signal.aborted) this.#options.onError?.(error);
      return false;
    }
  }

  async #takeOrRenew(signal: AbortSignal): Promise<boolean> {
    const { client, namespace, name, identity } = this.#options;
    // The holder knows what is there: without looking first, it renews with half the calls.
    if (this.#elected && this.#observed !== undefined && this.leader === identity) {
      try {
        return await this.#write(this.#observed, signal);
      } catch (error) {
        if (!isKubeError(error, 'conflict') && !isKubeError(error, 'notFound')) throw error;
      }
    }
    let lease: Lease;
    try {
      lease = await client.get<Lease>(LEASES, namespace, name, { signal });
    } catch (error) {
      if (!isKubeError(error, 'notFound')) throw error;
      return this.#write(undefined, signal);
    }
    this.#observe(lease);
    const { holderIdentity = '', leaseDurationSeconds = 0 } = lease.spec ?? {};
    const over = this.#observedAt + Math.max(leaseDurationSeconds * 1000, 0) <= performance.now();
    if (holderIdentity !== '' && holderIdentity !== identity && !over) return false;
    return this.#write(lease, signal);
  }

  /** Creates the Lease, or replaces the one that was seen and no later one. */
  async #write(seen: Lease | undefined, signal: AbortSignal): Promise<boolean> {
    const { client, namespace, name, identity } = this.#options;
    const now = microTime(new Date());
    const mine = seen?.spec?.holderIdentity === identity;
    const spec: LeaseSpec = {
      holderIdentity: identity,
      leaseDurationSeconds: this.#leaseDuration / 1000,
      acquireTime: (mine ? seen.spec?.acquireTime : undefined) ?? now,
      renewTime: now,
      leaseTransitions: (seen?.spec?.leaseTransitions ?? 0) + (mine || seen === undefined ? 0 : 1),
    };
    const asked = performance.now();
    let lease: Lease;
    try {
      lease =
        seen === undefined
          ? await client.create<Lease>(LEASES, leaseOf(namespace, name, spec), { signal })
          : await client.update<Lease>(LEASES, { ...seen, spec: { ...seen.spec, ...spec } }, { signal });
    } catch (error) {
      // Another was faster. For the holder, what it knows is out of date: #takeOrRenew looks again.
      if (!this.#elected && (isKubeError(error, 'conflict') || isKubeError(error, 'alreadyExists')))
        return false;
      throw error;
    }
    this.#observe(lease);
    this.#leadsUntil = asked + this.#renewDeadline;
    return true;
  }

  async #release(): Promise<void> {
    const { client, namespace, name, identity } = this.#options;
    const signal = AbortSignal.timeout(Math.max(1, Math.ceil(this.#leadsUntil - performance.now())));
    // Not the one that was last seen: a renewal that was given up may have been done all the same.
    const lease = await client.get<Lease>(LEASES, namespace, name, { signal });
    if (lease.spec?.holderIdentity !== identity) return;
    const now = microTime(new Date());
    const spec = { holderIdentity: '', leaseDurationSeconds: 1, acquireTime: now, renewTime: now };
    await client.update<Lease>(LEASES, { ...lease, spec: { ...lease.spec, ...spec } }, { signal });
  }

  #observe(lease: Lease): void {
    const before = this.#observed;
    if (before?.metadata.resourceVersion === lease.metadata.resourceVersion) return;
    this.#observed = lease;
    this.#observedAt = performance.now();
    const holder = lease.spec?.holderIdentity ?? '';
    if (before === undefined || (before.spec?.holderIdentity ?? '') !== holder)
      this.#options.onLeader?.(holder);
  }

  async #pause(ms: number): Promise<void> {
    await sleep(Math.max(0, ms), undefined, { signal: this.#abort.signal }).catch(() => undefined);
  }
}

function leaseOf(namespace: string, name: string, spec: LeaseSpec): Lease {
  return { apiVersion: apiVersionOf(LEASES), kind: LEASES.kind, metadata: { name, namespace }, spec };
}
