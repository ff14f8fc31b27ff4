import { Counter, type Registry } from 'prom-client';

/** A number that the request path may raise, and that is read when metrics are scraped. */
export interface Tally {
  value: number;
}

export interface TallyOptions<Label extends string> {
  readonly name: string;
  readonly help: string;
  readonly labelNames: readonly Label[];
  readonly registry: Registry;
}

/**
 * A counter whose children are plain numbers. One of prom-client's own validates and hashes its labels each time; these
 * are looked up once and kept by whoever counts.
 */
export class TallyCounter<Label extends string = never> {
  readonly #children = new Map<string, { readonly labels: Record<Label, string>; readonly tally: Tally }>();
  readonly #labelNames: readonly Label[];

  constructor({ name, help, labelNames, registry }: TallyOptions<Label>) {
    this.#labelNames = labelNames;
    const children = this.#children;
    new Counter<Label>({
      name,
      help,
      labelNames: [...labelNames],
      registers: [registry],
      collect() {
        this.reset();
        for (const { labels, tally } of children.values()) this.inc(labels, tally.value);
      },
    });
  }

  /** @param values Of the labels, in their order. The same child for the same values. */
  child(...values: readonly string[]): Tally {
    const key = values.join('\0');
    let child = this.#children.get(key);
    if (child === undefined) {
      const entries = this.#labelNames.map((label, index) => [label, values[index] ?? ''] as const);
      child = { labels: Object.fromEntries(entries) as Record<Label, string>, tally: { value: 0 } };
      this.#children.set(key, child);
    }
    return child.tally;
  }
}
