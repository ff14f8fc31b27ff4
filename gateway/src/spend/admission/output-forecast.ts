/** How many answers of a model are remembered. */
const REMEMBERED = 1024;
/** Fewer say nothing about the hundredth largest. */
const ENOUGH = 200;
/** What is expected until then: most answers of a coding agent are shorter. */
const PRIOR_TOKENS = 16_384;
/** After how many answers the percentile is worked out anew. */
const STEP = 64;
const PERCENTILE = 0.99;

/** How long answers get, for caps that do not hold the worst case. Learned from what passes this replica. */
export class OutputForecast {
  readonly #models = new Map<string, Answers>();

  /**
   * Output tokens that 99 of 100 answers of the model do not exceed.
   *
   * @param model The catalog's name.
   */
  expect(model: string): number {
    return this.#models.get(model)?.expected ?? PRIOR_TOKENS;
  }

  /** @param outputTokens Of a complete answer. */
  observe(model: string, outputTokens: number): void {
    let answers = this.#models.get(model);
    if (answers === undefined) this.#models.set(model, (answers = new Answers()));
    answers.add(outputTokens);
  }
}

class Answers {
  expected = PRIOR_TOKENS;
  readonly #tokens = new Uint32Array(REMEMBERED);
  #seen = 0;

  add(tokens: number): void {
    this.#tokens[this.#seen++ % REMEMBERED] = tokens;
    if (this.#seen < ENOUGH) {
      if (tokens > this.expected) this.expected = tokens;
    } else if (this.#seen === ENOUGH || this.#seen % STEP === 0) {
      const sorted = this.#tokens.slice(0, Math.min(this.#seen, REMEMBERED)).sort();
      this.expected = sorted[Math.ceil(sorted.length * PERCENTILE) - 1] ?? PRIOR_TOKENS;
    }
  }
}
