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
    this.#write(`${styleText(this.#color, `${this.#name.padEnd(8)} │`)} ${text}\n`);
  }

  /** Output of a child process, in whatever pieces it comes. JSON lines are made readable. */
  chunk(text: string): void {
    const lines = (this.#partial + text).split('\n');
    this.#partial = lines.pop() ?? '';
    for (const line of lines) this.line(readable(line));
  }

  /** The last lines, for a report of what went wrong. */
  get tail(): readonly string[] {
    return this.#partial === '' ? this.#tail : [...this.#tail, this.#partial];
  }
}

/** `info  listening url=http://…` instead of a JSON object; other lines stay as they are. */
export function readable(line: string): string {
  if (!line.startsWith('{')) return line;
  let entry: Record<string, unknown>;
  try {
    entry = JSON.parse(line) as Record<string, unknown>;
  } catch {
    return line;
  }
  const { level, msg, evt, ...fields } = entry;
  delete fields['time'];
  delete fields['ts'];
  const kind = evt === undefined ? plain(level ?? '') : 'audit';
  const shown =
    kind === 'error' || kind === 'warn' ? styleText(kind === 'error' ? 'red' : 'yellow', kind) : kind;
  const rest = Object.entries(fields).map(([name, value]) => `${name}=${plain(value)}`);
  return [shown, plain(evt ?? msg ?? ''), styleText('dim', rest.join(' '))].join('  ').trimEnd();
}

function plain(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}
