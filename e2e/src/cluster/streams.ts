import { Agent, request } from 'undici';

/** What became of one streamed answer. */
export interface StreamOutcome {
  /** Status of the answer; 0 when there was none. */
  readonly status: number;
  /** Whether the last event arrived. */
  readonly complete: boolean;
  /** From the first byte of the answer to the last, in ms. */
  readonly lasted: number;
  /** How many pieces it came in. */
  readonly pieces: number;
  readonly error: string | undefined;
}

/** One streamed question, on a connection of its own: a person at a keyboard. */
export async function stream(url: string, bearer: string): Promise<StreamOutcome> {
  const dispatcher = new Agent({ connections: 1, keepAliveTimeout: 1 });
  let [status, pieces, first, last, text] = [0, 0, 0, 0, ''];
  let error: string | undefined;
  try {
    const answer = await request(`${url}/v1/messages`, {
      dispatcher,
      method: 'POST',
      headers: {
        authorization: `Bearer ${bearer}`,
        'content-type': 'application/json',
        'anthropic-version': '2023-06-01',
      },
      body: JSON.stringify({
        model: 'claude-haiku-4-5',
        max_tokens: 1000,
        stream: true,
        messages: [{ role: 'user', content: 'tell me a long story' }],
      }),
    });
    status = answer.statusCode;
    for await (const piece of answer.body as AsyncIterable<Buffer>) {
      pieces++;
      first ||= performance.now();
      last = performance.now();
      text = (text + piece.toString()).slice(-200);
    }
  } catch (thrown) {
    error = (thrown as Error).message;
  } finally {
    await dispatcher.destroy();
  }
  return { status, complete: text.includes('event: message_stop'), lasted: last - first, pieces, error };
}

/** Streams that follow one another on so many lines until told to stop. */
export class Streams {
  readonly #outcomes: StreamOutcome[] = [];
  readonly #lines: Promise<void>[];
  #stopping = false;

  constructor(url: string, bearer: string, lines: number) {
    this.#lines = Array.from({ length: lines }, async (_, line) => {
      // Not all at the same point of their answers.
      await new Promise((resolve) => setTimeout(resolve, (line * 2000) / lines));
      while (!this.#stopping) this.#outcomes.push(await stream(url, bearer));
    });
  }

  /** Lets those under way finish. @returns all that there were. */
  async stop(): Promise<readonly StreamOutcome[]> {
    this.#stopping = true;
    await Promise.all(this.#lines);
    return this.#outcomes;
  }
}

/** Those that were not answered, or not to the end. */
export function broken(outcomes: readonly StreamOutcome[]): readonly StreamOutcome[] {
  return outcomes.filter(({ status, complete }) => status !== 200 || !complete);
}
