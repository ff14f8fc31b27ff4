import { Histogram, type MetricType, type Registry } from 'prom-client';

export interface TallyHistogramOptions<Label extends string> {
  readonly name: string;
  readonly help: string;
  readonly labelNames: readonly Label[];
  /** Upper bounds, ascending. */
  readonly buckets: readonly number[];
  readonly registry: Registry;
}

/** The observations under one set of labels. */
export class Observations {
  sum = 0;
  count = 0;
  /** How many fell into each bucket and into none before it; the rest is in `count` alone. */
  readonly counts: number[];
  readonly #bounds: readonly number[];

  constructor(bounds: readonly number[]) {
    this.#bounds = bounds;
    this.counts = bounds.map(() => 0);
  }

  observe(value: number): void {
    this.sum += value;
    this.count++;
    const bounds = this.#bounds;
    for (let i = 0; i < bounds.length; i++) {
      if (value <= (bounds[i] as number)) {
        (this.counts[i] as number)++;
        return;
      }
    }
  }
}

/**
 * A histogram for the request path, as {@link TallyCounter} is a counter: an observation is a few additions, where one of
 * prom-client's validates, copies and hashes its labels (1.3 µs). What is scraped is the same.
 */
export class TallyHistogram<Label extends string> {
  readonly #children = new Map<string, { readonly labels: Labels; readonly observations: Observations }>();
  readonly #labelNames: readonly Label[];
  readonly #buckets: readonly number[];

  constructor({ name, help, labelNames, buckets, registry }: TallyHistogramOptions<Label>) {
    this.#labelNames = labelNames;
    this.#buckets = buckets;
    new PublishedHistogram(
      { name, help, labelNames: [...labelNames], buckets: [...buckets], registers: [registry] },
      () => [...this.#children.values()].flatMap((child) => samples(name, buckets, child)),
    );
  }

  /** @param values Of the labels, in their order. The same child for the same values. */
  child(...values: readonly string[]): Observations {
    const key = values.join('\0');
    let child = this.#children.get(key);
    if (child === undefined) {
      const labels = Object.fromEntries(this.#labelNames.map((label, i) => [label, values[i] ?? '']));
      child = { labels, observations: new Observations(this.#buckets) };
      this.#children.set(key, child);
    }
    return child.observations;
  }
}

type Labels = Readonly<Record<string, string>>;

interface Sample {
  readonly metricName: string;
  readonly labels: Readonly<Record<string, string | number>>;
  readonly value: number;
}

/** Buckets are cumulative, and the last one has everything. */
function samples(
  name: string,
  buckets: readonly number[],
  { labels, observations: { counts, count, sum } }: { labels: Labels; observations: Observations },
): Sample[] {
  let below = 0;
  return [
    ...buckets.map((le, i) => {
      below += counts[i] ?? 0;
      return { metricName: `${name}_bucket`, labels: { le, ...labels }, value: below };
    }),
    { metricName: `${name}_bucket`, labels: { le: '+Inf', ...labels }, value: count },
    { metricName: `${name}_sum`, labels, value: sum },
    { metricName: `${name}_count`, labels, value: count },
  ];
}

class PublishedHistogram extends Histogram {
  readonly #described: { readonly name: string; readonly help: string };
  readonly #samples: () => Sample[];

  constructor(options: ConstructorParameters<typeof Histogram>[0], read: () => Sample[]) {
    super(options);
    this.#described = options;
    this.#samples = read;
  }

  override get(): ReturnType<Histogram['get']> {
    const { name, help } = this.#described;
    // The enum is declared, and not there when it runs.
    const type = 'histogram' as unknown as MetricType;
    return Promise.resolve({
      ...{ name, help, type, aggregator: 'sum', values: this.#samples() },
      collect: () => undefined,
    });
  }

  /** What a registry asks for when it writes text. */
  getForPromString(): ReturnType<Histogram['get']> {
    return this.get();
  }
}
