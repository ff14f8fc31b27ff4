import { createSecureContext } from 'node:tls';
import {
  ConfigError,
  loadConfig,
  unsupportedSections,
  type ConfigProblem,
  type ConfigWarning,
  type GatewayConfig,
} from '@claude-gateway/contract';
import type { MountedFile, RenderedConfig } from './gateway-config.ts';
import type { Resolved } from './references.ts';

/** Something about the configuration, in the words of the resource. */
export interface ConfigFieldProblem {
  /** Such as `spec.upstreams[1].anthropic.apiKeySecretRef`; `spec` when it cannot be told. */
  readonly field: string;
  /** For people. Never has a secret. */
  readonly message: string;
}

export interface CheckedConfig {
  readonly problems: readonly ConfigFieldProblem[];
  readonly warnings: readonly ConfigFieldProblem[];
  /** With the values of Secrets in it; undefined when there are problems. */
  readonly config: GatewayConfig | undefined;
}

/** An object may be larger by its metadata: etcd takes 1.5 MiB, a ConfigMap holds 1 MiB. */
const MAX_BYTES = 1024 * 1024;

/** Loads a rendered configuration as the gateway will: with its own loader, and what is mounted in the place of files. */
export function checkConfig(rendered: RenderedConfig, resolved: Resolved): CheckedConfig {
  const words = new Words(rendered);
  const problems: ConfigFieldProblem[] = [...rendered.problems, ...sizeProblem(rendered)];
  let warnings: readonly ConfigFieldProblem[] = [];
  let config: GatewayConfig | undefined;
  if (problems.length === 0) {
    const readFile = readerOf(rendered, resolved);
    try {
      const loaded = loadConfig(rendered.yaml, { env: rendered.env, readFile });
      config = loaded.config;
      warnings = loaded.warnings.map((warning) => words.say(warning));
      problems.push(
        ...unsupportedSections(config).map((problem) => words.say(problem)),
        ...tlsProblem(config, rendered, readFile),
      );
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error;
      problems.push(...error.problems.map((problem) => words.say(problem)));
    }
  }
  return { problems, warnings, config: problems.length === 0 ? config : undefined };
}

function sizeProblem({ yaml }: RenderedConfig): ConfigFieldProblem[] {
  if (Buffer.byteLength(yaml) <= MAX_BYTES) return [];
  const message = 'is larger than a ConfigMap may be (1 MiB) once rendered: shorten lists, such as models';
  return [{ field: 'spec', message }];
}

type ReadFile = (path: string) => string;

function readerOf({ files }: RenderedConfig, resolved: Resolved): ReadFile {
  const byPath = new Map(files.map((file) => [file.path, file]));
  return (path) => {
    const file = byPath.get(path);
    const value = file && resolved(file.kind, file.name, file.key);
    if (value === undefined) throw Object.assign(new Error('no such file'), { code: 'ENOENT' });
    return value;
  };
}

/** The loader leaves certificates to the listener, which would not start. */
function tlsProblem(
  { listen }: GatewayConfig,
  { fields }: RenderedConfig,
  readFile: ReadFile,
): ConfigFieldProblem[] {
  if (listen.tls === undefined) return [];
  const field = fields.get('listen.tls.cert') ?? 'spec.listen.tls';
  const message = 'names a Secret whose tls.crt and tls.key are no certificate (PEM) and its key';
  try {
    createSecureContext({ cert: readFile(listen.tls.cert), key: readFile(listen.tls.key) });
    return [];
  } catch {
    // What OpenSSL says is for programmers.
    return [{ field, message }];
  }
}

const LAST_STEP = /(?:\.?[A-Za-z_$][\w$-]*|\[\d+\]|\["(?:[^"\\]|\\.)*"\])$/;

/** Says about fields of the spec what the contract says about gateway.yaml. */
class Words {
  readonly #fields: ReadonlyMap<string, string>;
  readonly #files: readonly MountedFile[];

  constructor({ fields, files }: RenderedConfig) {
    this.#fields = fields;
    this.#files = files.toSorted((one, other) => other.path.length - one.path.length);
  }

  say(problem: ConfigProblem | ConfigWarning): ConfigFieldProblem {
    const { field, rest } = this.#find(problem.path);
    const { found, suggestion } = problem as ConfigProblem;
    const message = [
      rest === '' ? '' : `${rest}: `,
      this.#withoutPaths(problem.message),
      found === undefined ? '' : `, found ${found}`,
      suggestion === undefined ? '' : `; did you mean ${suggestion}?`,
    ].join('');
    return { field, message };
  }

  /** The field of the nearest part that has one, and what is left of the path. */
  #find(path: string): { field: string; rest: string } {
    let prefix = path;
    while (prefix !== '') {
      const field = this.#fields.get(prefix);
      if (field !== undefined) return { field, rest: path.slice(prefix.length).replace(/^\./, '') };
      const shorter = prefix.replace(LAST_STEP, '');
      if (shorter === prefix) break;
      prefix = shorter;
    }
    return { field: 'spec', rest: path };
  }

  #withoutPaths(message: string): string {
    return this.#files.reduce(
      (text, { kind, name, key, path }) =>
        text.replaceAll(`the file ${path}`, `the value ${key} of ${kind} ${name}`),
      message,
    );
  }
}
