import { styleText } from 'node:util';

type Color = Parameters<typeof styleText>[0];

/** One program's lines on the terminal, each with the program's name before it. */
export class ConsoleLog {
  readonly #name: string;
  readonly #color: Color;
  readonly #write: (text: string) => void;
  #partial = '';
  readonly #tail: string[] = [];

  constructor(
    name: string,
    color: Color,
    write: (text: string) => void = (text) => void process.stdout.write(text),
  ) {
    this.#name = name;
    this.#color = color;
    this.#write = write;
  }

  line(text: string): void {
    this.#tail.push(text);
    if (this.#tail.length > 30) this.#tail.shift();
    const time = styleText('dim', clock(new Date()));
    this.#write(`${time} ${styleText(this.#color, `${this.#name.padEnd(8)} │`)} ${text}\n`);
  }

  /** Output of a child process, in whatever pieces it comes. JSON lines are made readable. */
  chunk(text: string): void {
    const lines = (this.#partial + text).split('\n');
    this.#partial = lines.pop() ?? '';
    for (const line of lines) {
      const shown = readable(line);
      if (shown !== undefined) this.line(shown);
    }
  }

  /** The last lines, for a report of what went wrong. */
  get tail(): readonly string[] {
    return this.#partial === '' ? this.#tail : [...this.#tail, this.#partial];
  }
}

/**
 * `info  listening url=http://…` instead of a JSON object, and a request in a few words; other lines stay as they are.
 *
 * @returns undefined for a line that says again what another one says.
 */
export function readable(line: string): string | undefined {
  if (!line.startsWith('{')) return line;
  let entry: Record<string, unknown>;
  try {
    entry = JSON.parse(line) as Record<string, unknown>;
  } catch {
    return line;
  }
  if (entry['evt'] === 'inference') return undefined;
  if (entry['evt'] === undefined && (entry['msg'] === 'request' || entry['msg'] === 'inference'))
    return requestInWords(entry);
  const { level, msg, evt, ...fields } = entry;
  for (const name of ['time', 'ts', 'request_id', 'client_ip']) delete fields[name];
  const kind = evt === undefined ? plain(level ?? '') : 'audit';
  const shown =
    kind === 'error' || kind === 'warn' ? styleText(kind === 'error' ? 'red' : 'yellow', kind) : kind;
  const rest = Object.entries(fields).map(([name, value]) => `${name}=${plain(value)}`);
  return [shown, plain(evt ?? msg ?? ''), styleText('dim', rest.join(' '))].join('  ').trimEnd();
}

/** `POST /v1/messages  200  claude-opus-4-8  812 ms`; how an answer ended, where it did not end well. */
function requestInWords({
  method,
  path,
  status,
  model,
  upstream,
  ending,
  ms,
}: Record<string, unknown>): string {
  const failed = typeof status === 'number' && status >= 400;
  return [
    `${plain(method ?? 'POST')} ${plain(path)}`,
    styleText(failed ? 'yellow' : 'green', plain(status)),
    ...[model, upstream].filter((value) => typeof value === 'string'),
    ...(ending === undefined || ending === 'complete' ? [] : [plain(ending)]),
    styleText('dim', `${plain(ms)} ms`),
  ].join('  ');
}

/** `09:05:30`, in the time of this machine. */
function clock(at: Date): string {
  return [at.getHours(), at.getMinutes(), at.getSeconds()]
    .map((part) => `${part}`.padStart(2, '0'))
    .join(':');
}

function plain(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}
