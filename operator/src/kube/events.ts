import { randomBytes } from 'node:crypto';
import type { KubeClient } from './client.ts';
import { isKubeError } from './errors.ts';
import { apiVersionOf, EVENTS, microTime, type KubeObject, type ResourceType } from './objects.ts';

export interface EventInput {
  readonly type: 'Normal' | 'Warning';
  /** CamelCase, for programs: why it happened. */
  readonly reason: string;
  /** CamelCase, for programs: what was done. */
  readonly action: string;
  /** For people; cut at 1 KiB. */
  readonly note: string;
}

export interface EventRecorderOptions {
  readonly client: KubeClient;
  /** Such as `example.dev/operator`. */
  readonly controller: string;
  /** Which process; the pod's name. */
  readonly instance: string;
  /** While an event happens again within this time of its last, it is the same, in ms. Default 600 000. */
  readonly window?: number;
  /** How often the count of an event that goes on is written, in ms. Default 300 000. */
  readonly seriesInterval?: number;
  /** New events that one object may have at once; one more comes back with each `seriesInterval`. Default 25. */
  readonly burst?: number;
  /** Between tries while the API server does not answer, in ms. Default 5000. */
  readonly retryPeriod?: number;
  readonly onError?: (error: unknown) => void;
  readonly now?: () => Date;
}

/** events.k8s.io/v1 Event. */
export interface KubeEvent extends KubeObject {
  readonly eventTime: string;
  readonly type: string;
  readonly reason: string;
  readonly action: string;
  readonly note: string;
  readonly reportingController: string;
  readonly reportingInstance: string;
  readonly regarding: Readonly<Record<string, string | undefined>>;
  readonly series?: { readonly count: number; readonly lastObservedTime: string };
}

interface Series {
  event: KubeEvent;
  count: number;
  /** The count that the server has; 0 when it has no such event. */
  written: number;
  writtenAt: number;
  lastAt: number;
  tries: number;
}

/** Events that wait to be written; beyond that the newest are dropped. */
const MOST_WAITING = 1000;
const MOST_TRIES = 5;
const NOTE_LIMIT = 1024;

/**
 * Tells people what happened to an object (`kubectl describe`, `kubectl events`). The same again is one event with a count. Writing
 * is done behind the caller's back and may fail: recording never throws and is never waited for.
 */
export class EventRecorder {
  readonly #options: EventRecorderOptions;
  readonly #window: number;
  readonly #seriesInterval: number;
  readonly #burst: number;
  readonly #now: () => Date;
  readonly #series = new Map<string, Series>();
  readonly #budgets = new Map<string, { left: number; at: number }>();
  readonly #waiting = new Set<Series>();
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> | undefined;
  #stopped = false;

  constructor(options: EventRecorderOptions) {
    this.#options = options;
    this.#window = options.window ?? 600_000;
    this.#seriesInterval = options.seriesInterval ?? 300_000;
    this.#burst = options.burst ?? 25;
    this.#now = options.now ?? (() => new Date());
  }

  record(type: ResourceType, object: KubeObject, input: EventInput): void {
    if (this.#stopped) return;
    const now = this.#now();
    const at = now.getTime();
    const { uid = '', namespace, name } = object.metadata;
    const key = JSON.stringify([
      type.kind,
      namespace,
      name,
      uid,
      input.type,
      input.reason,
      input.action,
      input.note,
    ]);
    const known = this.#series.get(key);
    if (known !== undefined && at - known.lastAt < this.#window) {
      known.count++;
      known.lastAt = at;
      return;
    }
    if (!this.#afford(uid || name, at) || this.#waiting.size >= MOST_WAITING) return;
    const event = this.#event(type, object, input, now);
    const series = { event, count: 1, written: 0, writtenAt: 0, lastAt: at, tries: 0 };
    if (known !== undefined) this.#close(known);
    this.#series.set(key, series);
    this.#enqueue(series);
    this.#timer ??= setInterval(() => this.#sweep(), this.#seriesInterval).unref();
  }

  /** Writes what waits, counts included. @param within ms; what is not written by then is lost. */
  async stop(within = 2000): Promise<void> {
    this.#stopped = true;
    clearInterval(this.#timer);
    for (const series of this.#series.values()) this.#close(series);
    this.#series.clear();
    if (this.#writing === undefined) return;
    let late: NodeJS.Timeout | undefined;
    await Promise.race([this.#writing, new Promise((resolve) => (late = setTimeout(resolve, within)))]);
    clearTimeout(late);
    this.#waiting.clear();
  }

  #event(type: ResourceType, { metadata }: KubeObject, input: EventInput, now: Date): KubeEvent {
    const { controller, instance } = this.#options;
    const { name, namespace, uid, resourceVersion } = metadata;
    const note = cut(input.note);
    const regarding = {
      apiVersion: apiVersionOf(type),
      kind: type.kind,
      namespace,
      name,
      uid,
      resourceVersion,
    };
    return {
      apiVersion: apiVersionOf(EVENTS),
      kind: EVENTS.kind,
      metadata: {
        name: `${name.slice(0, 200)}.${randomBytes(8).toString('hex')}`,
        namespace: namespace ?? 'default',
      },
      eventTime: microTime(now),
      type: input.type,
      reason: input.reason,
      action: input.action,
      note,
      reportingController: controller,
      reportingInstance: instance.slice(0, 128),
      regarding,
    };
  }

  /** A token bucket per object: a note that is different each time must not flood the API server. */
  #afford(object: string, at: number): boolean {
    const { left, at: since } = this.#budgets.get(object) ?? { left: this.#burst, at };
    const earned = Math.floor((at - since) / this.#seriesInterval);
    const now = Math.min(this.#burst, left + earned);
    if (now < 1) return false;
    this.#budgets.set(object, { left: now - 1, at: since + earned * this.#seriesInterval });
    return true;
  }

  #sweep(): void {
    const at = this.#now().getTime();
    for (const [key, series] of this.#series) {
      if (series.count > series.written && at - series.writtenAt >= this.#seriesInterval)
        this.#enqueue(series);
      if (at - series.lastAt < this.#window) continue;
      this.#close(series);
      this.#series.delete(key);
    }
    for (const [object, { left, at: since }] of this.#budgets)
      if (left + (at - since) / this.#seriesInterval >= this.#burst) this.#budgets.delete(object);
  }

  /** It does not go on: write its last count. */
  #close(series: Series): void {
    if (series.count > series.written) this.#enqueue(series);
  }

  #enqueue(series: Series): void {
    this.#waiting.add(series);
    this.#writing ??= this.#drain();
  }

  async #drain(): Promise<void> {
    const { retryPeriod = 5000, onError } = this.#options;
    // Once around: what is recorded in this very moment may yet be one event.
    await Promise.resolve();
    for (const series of this.#waiting) {
      const { count } = series;
      try {
        await this.#write(series, count);
        series.written = count;
        series.writtenAt = this.#now().getTime();
        series.tries = 0;
        this.#waiting.delete(series);
      } catch (error) {
        onError?.(error);
        const again = isKubeError(error, 'unavailable') && ++series.tries < MOST_TRIES && !this.#stopped;
        this.#waiting.delete(series);
        if (!again) continue;
        // Behind the others, which it holds up all the same: they would fail, too.
        this.#waiting.add(series);
        await new Promise((resolve) => setTimeout(resolve, retryPeriod).unref());
      }
    }
    this.#writing = undefined;
  }

  async #write({ event, written }: Series, count: number): Promise<void> {
    const { client } = this.#options;
    const series = { count, lastObservedTime: microTime(this.#now()) };
    if (written > 0) {
      try {
        await client.mergePatch(EVENTS, event.metadata.namespace, event.metadata.name, { series });
        return;
      } catch (error) {
        // The server keeps events for an hour.
        if (!isKubeError(error, 'notFound')) throw error;
      }
    }
    try {
      await client.create(EVENTS, count > 1 ? { ...event, series } : event);
    } catch (error) {
      // The try before this one got through, and its answer did not.
      if (!isKubeError(error, 'alreadyExists')) throw error;
    }
  }
}

/** To NOTE_LIMIT bytes, which is how the server counts, and whole characters. */
function cut(note: string): string {
  if (Buffer.byteLength(note) <= NOTE_LIMIT) return note;
  const ellipsis = '…';
  const bytes = new Uint8Array(NOTE_LIMIT - Buffer.byteLength(ellipsis));
  const { read } = new TextEncoder().encodeInto(note, bytes);
  return note.slice(0, read) + ellipsis;
}
