/** How many answers of a model are remembered. */
const REMEMBERED = 1024;
/** Fewer say nothing about the hundredth largest. */
const ENOUGH = 200;
/** What is expected until then: most answers of a coding agent are shorter. */
const PRIOR_TOKENS = 16_384;
/** After how many answers the percentile is worked out anew. */
const STEP = 64;
const PERCENTILE = 0.99;
/** An answer that may have less is not worth having while waiting could get it more. */
const LEAST_USEFUL_TOKENS = 4096;
/** A conversation's next answer is taken to be at most so many times its longest. */
const CONVERSATION_FACTOR = 2;
const MAX_CONVERSATIONS = 1000;

/**
 * How long answers get, for caps that do not hold the worst case, and for requests whose output is lowered. Learned from
 * what passes this replica.
 */
export class OutputForecast {
  readonly #models = new Map<string, Answers>();
  /** The longest answer of each, in tokens; the least recently used first. */
  readonly #conversations = new Map<string, number>();

  /**
   * Output tokens that 99 of 100 answers of the model do not exceed.
   *
   * @param model The catalog's name.
   */
  expect(model: string): number {
    return this.#models.get(model)?.expected ?? PRIOR_TOKENS;
  }

  /**
   * `max_tokens` that an answer hardly ever needs more of: what is expected of the model, or twice the longest answer of
   * this conversation.
   *
   * @param conversation See `conversationOf`.
   */
  useful(model: string, conversation: string | undefined): number {
    const longest = conversation === undefined ? undefined : this.#conversations.get(conversation);
    return Math.max(LEAST_USEFUL_TOKENS, this.expect(model), CONVERSATION_FACTOR * (longest ?? 0));
  }

  /**
   * @param outputTokens Of a complete answer.
   * @param conversation Undefined where nobody will ask for it.
   */
  observe(model: string, outputTokens: number, conversation?: string): void {
    let answers = this.#models.get(model);
    if (answers === undefined) this.#models.set(model, (answers = new Answers()));
    answers.add(outputTokens);
    if (conversation === undefined) return;
    const longest = Math.max(outputTokens, this.#conversations.get(conversation) ?? 0);
    this.#conversations.delete(conversation);
    this.#conversations.set(conversation, longest);
    if (this.#conversations.size <= MAX_CONVERSATIONS) return;
    const [oldest] = this.#conversations.keys();
    if (oldest !== undefined) this.#conversations.delete(oldest);
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
