import { spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** What the reference says about one place of a document. */
export interface ReferenceRemark {
  /** Keys and list positions, each after a dot, such as `permissions.deny.0`. */
  readonly path: string;
  readonly message: string;
}

const TIMEOUT_MS = 60_000;
/** What stands in front of remarks on the settings of the first policy. */
const SETTINGS_REFUSED = 'managed.policies[0].cli invalid:';
/** How a key is reported that the reference does not know. */
export const UNKNOWN_KEY = /^unknown settings key/;

/**
 * Asks the reference gateway what it thinks of a configuration, by starting it with that. It judges managed settings
 * after it has reached its database, so that needs to be a real one.
 */
export class ReferenceJudge {
  readonly #binary: string;
  readonly #postgresUrl: string;

  constructor(binary: string, postgresUrl: string) {
    this.#binary = binary;
    this.#postgresUrl = postgresUrl;
  }

  /** @returns its remarks on a settings document; none when it accepts the document. */
  async settings(document: Readonly<Record<string, unknown>>): Promise<ReferenceRemark[]> {
    const output = await this.#start({ managed: { policies: [{ cli: document }] } });
    const at = output.indexOf(SETTINGS_REFUSED);
    if (at === -1) return [];
    return [...output.slice(at + SETTINGS_REFUSED.length).matchAll(/^ {2}(?! )([^:\s]*): (.*)$/gm)].map(
      ([, path = '', message = '']) => ({ path, message }),
    );
  }

  /** @returns all that it printed until it ended, or came to listen. */
  async configuration(sections: Readonly<Record<string, unknown>>): Promise<string> {
    return this.#start(sections);
  }

  async #start(sections: Readonly<Record<string, unknown>>): Promise<string> {
    const home = mkdtempSync(join(tmpdir(), 'reference-'));
    const config = join(home, 'gateway.yaml');
    const log = join(home, 'output');
    const document = {
      // No port of this machine can be bound at this address, so it ends where it would begin to serve.
      listen: { host: '192.0.2.1', port: 9, public_url: 'http://127.0.0.1:9' },
      oidc: { issuer: 'http://127.0.0.1:1', client_id: 'gateway', client_secret: 'a-secret' },
      session: { jwt_secret: 'a-secret-of-at-least-thirty-two-bytes' },
      store: { postgres_url: this.#postgresUrl },
      upstreams: [{ provider: 'anthropic', auth: { api_key: 'sk' } }],
      ...sections,
    };
    // JSON is YAML.
    writeFileSync(config, JSON.stringify(document));
    // A file: of a pipe it writes only as much as fits before it exits.
    const output = openSync(log, 'w');
    try {
      const child = spawn(this.#binary, ['gateway', '--config', config], {
        env: { PATH: process.env['PATH'], HOME: home, CLAUDE_GATEWAY_ALLOW_LOOPBACK: '1' },
        stdio: ['ignore', output, output],
        timeout: TIMEOUT_MS,
        killSignal: 'SIGKILL',
      });
      await new Promise((done, fail) => child.once('close', done).once('error', fail));
      return readFileSync(log, 'utf8');
    } finally {
      closeSync(output);
      rmSync(home, { recursive: true, force: true });
    }
  }
}
