/** Keys and indexes that lead from the top of gateway.yaml to a value. */
export type Path = readonly (string | number)[];

/** Something in gateway.yaml that keeps it from being used. */
export interface ConfigProblem {
  /** Such as `listen.port` or `upstreams[1].auth.api_key`; empty for the file as a whole. */
  readonly path: string;
  /** What is wrong or what is allowed, to be read after the path: `must be a whole number`. */
  readonly message: string;
  /** What the file has there, in short. Never a secret, nor anything that came from a variable or file. */
  readonly found?: string;
  /** The key or value that was probably meant. */
  readonly suggestion?: string;
  /** Line in the file, from 1. */
  readonly line?: number;
  /** Column in the line, from 1; known for errors of YAML itself. */
  readonly column?: number;
}

/** Something that can be used, but is probably not what was meant. */
export interface ConfigWarning {
  readonly path: string;
  readonly message: string;
  readonly line?: number;
}

const IDENTIFIER = /^[A-Za-z_$][\w$-]*$/;

/** `['upstreams', 1, 'auth']` as `upstreams[1].auth`; keys that are no identifiers are quoted. */
export function formatPath(path: Path): string {
  let text = '';
  for (const part of path) {
    if (typeof part === 'number') text += `[${part}]`;
    else if (IDENTIFIER.test(part)) text += text === '' ? part : `.${part}`;
    else text += `[${JSON.stringify(shorten(part))}]`;
  }
  return text;
}

const MAX_SHOWN = 60;

/** Long text is cut, so that one value cannot fill a terminal. */
export function shorten(text: string): string {
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN - 1)}…` : text;
}

/** gateway.yaml cannot be used; `problems` has everything that is wrong with it, in the order of the file. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly problems: readonly ConfigProblem[];
  readonly #source: string;

  /** @param source What the configuration was read from, for people; a path as a rule. */
  constructor(problems: readonly ConfigProblem[], source = 'the configuration') {
    const described = problems.map(formatProblem);
    super(`${source}: ${described.join('; ')}`);
    this.problems = problems;
    this.#source = source;
  }

  /** All problems, one to a line, for somebody at a terminal. */
  format(): string {
    const { length } = this.problems;
    const count = length === 1 ? 'a problem' : `${length} problems`;
    return [
      `${this.#source} has ${count}:`,
      ...this.problems.map((problem) => `  ${formatProblem(problem)}`),
    ].join('\n');
  }
}

function formatProblem({ path, message, found, suggestion, line, column }: ConfigProblem): string {
  const position =
    line === undefined ? '' : `line ${line}${column === undefined ? '' : `, column ${column}`}`;
  const where = path === '' ? position : `${path}${position === '' ? '' : ` (${position})`}`;
  return [
    where === '' ? message : `${where}: ${message}`,
    found === undefined ? '' : `, found ${found}`,
    suggestion === undefined ? '' : `; did you mean ${suggestion}?`,
  ].join('');
}
