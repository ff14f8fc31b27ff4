import { describe } from '@jest/globals';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findKubeProgram } from '@claude-gateway/dev';
import { parseAllDocuments } from 'yaml';

export const CHART = fileURLToPath(new URL('../../../charts/claude-gateway/', import.meta.url));

/** Says which Kubernetes it is for: a helm that was built without release flags believes in an ancient one. */
export const KUBE_VERSION = ['--kube-version', '1.37.0'];

/** A Kubernetes object, as far as tests of the chart look into it. */
export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly [field: string]: unknown;
}

/** What helm said. `code` is 0 when it succeeded. */
export interface HelmAnswer {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** The helms of this machine, by name: `helm`, and `helm3` where it is another one. */
export function helms(): readonly (readonly [name: string, program: string])[] {
  return ['helm', 'helm3'].flatMap((name) => {
    const program = findKubeProgram(name);
    return program === undefined ? [] : [[name, program] as const];
  });
}

/** `describe` for each helm of this machine; where something that the tests need is missing, skipped loudly. */
export function describeWithHelm(needed: readonly string[], tests: (helm: Helm) => void): void {
  const missing = needed.filter((name) => findKubeProgram(name) === undefined);
  if (helms().length === 0) missing.push('helm');
  if (missing.length > 0) {
    console.warn(`SKIPPED: these tests need ${missing.join(' and ')}: name their directory in KUBE_BIN_DIR`);
    describe.skip(`without ${missing.join(' and ')}`, () => tests(new Helm('helm')));
    return;
  }
  describe.each(helms())('with %s', (_name, program) => tests(new Helm(program)));
}

/** One helm program with settings and caches of its own: those of the machine stay out of it. */
export class Helm {
  readonly #program: string;
  #home: string | undefined;

  constructor(program: string) {
    this.#program = program;
  }

  /** @param kubeconfig path; without it helm reaches no cluster. */
  async run(args: readonly string[], kubeconfig = '/dev/null'): Promise<HelmAnswer> {
    const home = (this.#home ??= mkdtempSync(join(tmpdir(), 'helm-')));
    const child = spawn(this.#program, args, {
      env: {
        PATH: process.env['PATH'],
        HOME: home,
        HELM_CACHE_HOME: join(home, 'cache'),
        HELM_CONFIG_HOME: join(home, 'config'),
        HELM_DATA_HOME: join(home, 'data'),
        KUBECONFIG: kubeconfig,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let [stdout, stderr] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => (stdout += chunk));
    child.stderr.setEncoding('utf8').on('data', (chunk: string) => (stderr += chunk));
    const code = await new Promise<number>((resolve, reject) => {
      child.once('error', reject).once('close', (status) => resolve(status ?? 1));
    });
    return { code, stdout, stderr };
  }

  /** What `helm template` renders for release `test` in namespace `claude`. @throws when it refuses. */
  async template(args: readonly string[] = [], chart = CHART): Promise<readonly Manifest[]> {
    const { code, stdout, stderr } = await this.run([
      'template',
      'test',
      chart,
      '-n',
      'claude',
      ...KUBE_VERSION,
      ...args,
    ]);
    if (code !== 0) throw new Error(stderr);
    return documentsOf(stdout);
  }

  dispose(): void {
    if (this.#home !== undefined) rmSync(this.#home, { recursive: true, force: true });
  }
}

/** The objects of a stream of YAML documents, without empty ones. */
export function documentsOf(yaml: string): readonly Manifest[] {
  return parseAllDocuments(yaml).flatMap((document) => {
    const value = document.toJS() as Manifest | null;
    return value === null ? [] : [value];
  });
}
