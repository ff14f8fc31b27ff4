import { describe, expect, it } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { loadConfig } from './load-config.ts';
import { ConfigError } from './problem.ts';

/** What the reference gateway 2.1.330 said about a document, recorded by starting it. */
interface Verdict {
  readonly name: string;
  /** Sections beside or instead of the base document's, as YAML; null removes one. */
  readonly sections?: Readonly<Record<string, string | null>>;
  /** Or the whole document. */
  readonly document?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** CLAUDE_GATEWAY_ALLOW_LOOPBACK; set unless false. */
  readonly loopback?: boolean;
  readonly accepted: boolean;
  /** Where the reference saw problems; an empty path is the file as a whole. */
  readonly paths?: readonly string[];
}

const BASE: Readonly<Record<string, string>> = {
  listen: '{ host: 127.0.0.1, port: 9299, public_url: "http://127.0.0.1:9299" }',
  oidc: '{ issuer: "http://127.0.0.1:1", client_id: gw, client_secret: abc }',
  session: '{ jwt_secret: "0123456789abcdef0123456789abcdef0123456789" }',
  store: '{ postgres_url: "postgres://postgres:postgres@127.0.0.1:1/ref" }',
  upstreams: '[{ provider: anthropic, auth: { api_key: sk } }]',
};

const BOOLEAN_REFERENCE = 'a reference may stand where true or false is wanted';
const BORN_EXPIRED = 'tokens would have expired when they are issued';
const NO_PORT = 'no TCP port: the reference accepts the file and fails later, or takes 0 or 1';
const THIS_MACHINE =
  'localhost and *.localhost are this machine too; browsers, not the gateway, go to form_action_origins';

/** Where we differ on purpose, and why. Everything else must agree. */
const REVIEWED: Readonly<Record<string, string>> = {
  'bool from env': BOOLEAN_REFERENCE,
  'bool from env plain': BOOLEAN_REFERENCE,
  session: BORN_EXPIRED,
  ttl0: BORN_EXPIRED,
  'ttl 0': BORN_EXPIRED,
  'ttl -1': BORN_EXPIRED,
  'port neg': NO_PORT,
  'port big': NO_PORT,
  'port 1.5': NO_PORT,
  'port null': NO_PORT,
  'str empty port': NO_PORT,
  'bool port': NO_PORT,
  'public_url ftp': 'clients speak http and https only',
  'public_url query': 'an origin has no query',
  'host empty': 'an empty variable would bind every address',
  proxies: 'a prefix length with a leading zero is a mistake',
  'empty name': 'models could not refer to it sensibly',
  'bedrock region odd': 'no such region exists, and the endpoint is made from it',
  'models dup id': 'an empty model id reaches no model',
  'http://metadata.azure.internal': 'a metadata service that the reference does not know',
  'http://0.0.0.0': 'the reference accepts it and never connects',
  'tel loop LB0': THIS_MACHINE,
  'issuer LB0 others': THIS_MACHINE,
  'unknown key': 'clients may know settings that we do not: a warning',
};

function documentOf({ document, sections }: Verdict): string {
  if (document !== undefined) return document;
  return Object.entries({ ...BASE, ...sections })
    .filter(([, yaml]) => yaml !== null)
    .map(([name, yaml]) => `${name}: ${yaml}\n`)
    .join('');
}

/** @returns the paths of our problems; undefined when we accept. */
function judge(verdict: Verdict): string[] | undefined {
  const loopback = verdict.loopback === false ? {} : { CLAUDE_GATEWAY_ALLOW_LOOPBACK: '1' };
  try {
    loadConfig(documentOf(verdict), {
      env: { ...verdict.env, ...loopback },
      readFile: (path) => {
        if (path === '/etc/hostname') return 'host\n';
        throw Object.assign(new Error('absent'), { code: 'ENOENT' });
      },
    });
    return undefined;
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return error.problems.map(({ path }) => path);
  }
}

/** One of them is the other, or lies within it. */
function touches(a: string, b: string): boolean {
  return a.startsWith(b) || b.startsWith(a);
}

function disagreement(verdict: Verdict): string | undefined {
  const ours = judge(verdict);
  if (verdict.accepted) return ours === undefined ? undefined : `we refuse: ${ours.join(', ')}`;
  if (ours === undefined) return 'we accept';
  const theirs = verdict.paths ?? [];
  const missed = theirs.filter((path) => !ours.some((own) => touches(own, path)));
  const added = ours.filter((own) => !theirs.some((path) => touches(own, path)));
  if (missed.length === 0 && added.length === 0) return undefined;
  return `we miss [${missed.join(', ')}] and add [${added.join(', ')}]`;
}

const VERDICTS = JSON.parse(
  readFileSync(new URL('./fixtures/reference-verdicts.json', import.meta.url), 'utf8'),
) as readonly Verdict[];

describe('agreement with the reference gateway', () => {
  it('accepts and refuses the same documents, for problems at the same places', () => {
    const disagreements = Object.fromEntries(
      VERDICTS.flatMap((verdict) => {
        const difference = disagreement(verdict);
        return difference === undefined ? [] : [[verdict.name, difference]];
      }),
    );
    const unexpected = Object.entries(disagreements).filter(([name]) => REVIEWED[name] === undefined);
    expect(unexpected).toEqual([]);
    const outdated = Object.keys(REVIEWED).filter((name) => disagreements[name] === undefined);
    expect(outdated).toEqual([]);
  });
});
