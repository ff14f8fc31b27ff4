import { createSecureContext } from 'node:tls';
import type { ConfigProblem, ConfigWarning, GatewayConfig } from '@claude-gateway/contract';
import { connectionProblem } from '@claude-gateway/prisma';
import { readRegularFile } from './regular-file.ts';

/** What is wrong with the files that a valid configuration names, beside those that are read with it. */
export interface NamedFiles {
  readonly problems: readonly ConfigProblem[];
  /** Files that are read when they are needed, and may come later. */
  readonly warnings: readonly ConfigWarning[];
}

/** Looks at every file that the configuration names and the gateway opens by itself: certificates, keys, tokens. */
export function checkNamedFiles(config: GatewayConfig): NamedFiles {
  const problems: ConfigProblem[] = [];
  const warnings: ConfigWarning[] = [];
  const { tls } = config.listen;
  if (tls !== undefined) problems.push(...certificateProblems(tls));
  const store = connectionProblem({ url: config.store.postgres_url });
  if (store !== undefined) problems.push({ path: 'store.postgres_url', message: store });
  for (const [path, file] of filesForLater(config)) {
    const failure = failureOf(file);
    if (failure === undefined) continue;
    const message = `cannot read the file ${file} (${failure})`;
    if (failure === 'ENOENT') warnings.push({ path, message });
    else problems.push({ path, message });
  }
  return { problems, warnings };
}

function* filesForLater({ upstreams, oidc }: GatewayConfig): Generator<[path: string, file: string]> {
  for (const [index, { auth }] of upstreams.entries()) {
    if (auth !== undefined && 'identity_token_file' in auth && auth.identity_token_file !== undefined)
      yield [`upstreams[${index}].auth.identity_token_file`, auth.identity_token_file];
  }
  for (const [index, { google_groups: groups }] of oidc.entries()) {
    const file = groups?.service_account_json_path;
    if (file !== undefined) yield [`oidc[${index}].google_groups.service_account_json_path`, file];
  }
}

function certificateProblems(tls: { readonly cert: string; readonly key: string }): ConfigProblem[] {
  const problems = (['cert', 'key'] as const).flatMap((field) => {
    const failure = failureOf(tls[field]);
    const message = `cannot read the file ${tls[field]} (${failure})`;
    return failure === undefined ? [] : [{ path: `listen.tls.${field}`, message }];
  });
  if (problems.length > 0) return problems;
  try {
    createSecureContext({ cert: readRegularFile(tls.cert), key: readRegularFile(tls.key) });
    return [];
  } catch {
    // What OpenSSL says is for programmers.
    return [{ path: 'listen.tls', message: 'names files that are no certificate (PEM) and its key' }];
  }
}

/** @returns the code of what went wrong, if it did. */
function failureOf(path: string): string | undefined {
  try {
    readRegularFile(path);
    return undefined;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? 'unknown error';
  }
}
