import { readFileSync } from 'node:fs';
import { loadConfig, type LoadedConfig } from '../load-config.ts';
import { ConfigError, type ConfigProblem } from '../problem.ts';

/** What the documents of the tests refer to. */
export const FILES: Readonly<Record<string, string>> = {
  '/secrets/oidc': 'oidc-secret-from-file\n',
  '/secrets/db': '  p@ss:word\n',
  '/secrets/anthropic': 'sk-ant-from-file\n',
  '/secrets/ca': 'pem-from-file\n',
  '/secrets/empty': ' \n',
};

export const ENV: Readonly<Record<string, string>> = {
  PORT: '8443',
  USERINFO: 'true',
  TEAM: 'platform',
  JWT_SECRET: 'jwt-secret-from-environment-0123456789',
  ALERTS_SECRET: 'whsec_YWxlcnRzLXNlY3JldC1mcm9tLWVudmlyb25tZW50',
  OTEL_TOKEN: 'otel-token-from-environment',
};

export function readFile(path: string): string {
  const content = FILES[path];
  if (content === undefined) throw Object.assign(new Error(`absent: ${path}`), { code: 'ENOENT' });
  return content;
}

export const completeYaml = (): string =>
  readFileSync(new URL('../fixtures/complete.yaml', import.meta.url), 'utf8');

const MINIMAL: Readonly<Record<string, string>> = {
  listen: '{ host: 127.0.0.1 }',
  oidc: '{ issuer: https://idp.example, client_id: gateway, client_secret: oidc-secret }',
  session: '{ jwt_secret: 0123456789abcdef0123456789abcdef }',
  store: '{ postgres_url: postgres://db.example/gateway }',
  upstreams: '[{ provider: anthropic, auth: { api_key: sk-ant-key } }]',
};

/** The least that is valid, with sections (as YAML) in exchange or beside; null leaves one out. Each is one line. */
export function documentWith(sections: Readonly<Record<string, string | null>> = {}): string {
  return Object.entries({ ...MINIMAL, ...sections })
    .filter(([, yaml]) => yaml !== null)
    .map(([name, yaml]) => `${name}: ${yaml}\n`)
    .join('');
}

export function load(text: string, env: Readonly<Record<string, string>> = ENV): LoadedConfig {
  return loadConfig(text, { env, readFile, path: 'gateway.yaml' });
}

/** The error of a document that must not load. */
export function failure(text: string, env: Readonly<Record<string, string>> = ENV): ConfigError {
  try {
    load(text, env);
  } catch (error) {
    if (error instanceof ConfigError) return error;
    throw error;
  }
  throw new Error('this document should have been refused');
}

export const problems = (text: string, env = ENV): readonly ConfigProblem[] => failure(text, env).problems;
