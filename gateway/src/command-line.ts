import { parseArgs } from 'node:util';
import { closestName } from '@claude-gateway/contract';
import type { RevokeTarget } from './auth/session/revoke-command.ts';

export type Command =
  | { readonly kind: 'serve'; readonly config: string }
  | { readonly kind: 'check'; readonly config: string }
  | { readonly kind: 'print-schema' }
  | { readonly kind: 'revoke'; readonly config: string; readonly target: RevokeTarget }
  | { readonly kind: 'sessions'; readonly config: string; readonly user: string | undefined }
  | { readonly kind: 'version' }
  | { readonly kind: 'help' };

/** What was typed makes no sense; the message says what to type instead. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

export const USAGE = `Usage:
  claude-gateway --config gateway.yaml            serve
  claude-gateway --config gateway.yaml --check    validate the file, print every problem, exit
  claude-gateway --print-schema                   JSON Schema of gateway.yaml, for editors
  claude-gateway sessions --config gateway.yaml [--user alice@corp.example]
  claude-gateway revoke --config gateway.yaml --user alice@corp.example | --sub ID | --session ID
  claude-gateway --version | --help

Environment:
  CLAUDE_GATEWAY_LOG_LEVEL        info (default), warn or error; audit events are always written
  CLAUDE_GATEWAY_ALLOW_LOOPBACK   1: identity provider and upstreams may be on this machine (development)
  HTTPS_PROXY, HTTP_PROXY, NO_PROXY   forward proxy for outbound requests
  CLAUDE_GATEWAY_PROXY_IS_EGRESS_BOUNDARY   1: the proxy resolves the names of all destinations
  CLAUDE_GATEWAY_IDP_CONNECT_BY_HOSTNAME    1: the proxy resolves those of identity providers with use_proxy
`;

const OPTIONS = {
  config: { type: 'string' },
  check: { type: 'boolean' },
  'print-schema': { type: 'boolean' },
  user: { type: 'string' },
  sub: { type: 'string' },
  session: { type: 'string' },
  version: { type: 'boolean', short: 'v' },
  help: { type: 'boolean', short: 'h' },
} as const;

const COMMANDS = ['sessions', 'revoke'];

/** @throws UsageError */
export function parseCommandLine(args: readonly string[]): Command {
  const { values, positionals } = parse(args);
  if (values.help === true) return { kind: 'help' };
  if (values.version === true) return { kind: 'version' };
  if (values['print-schema'] === true) return { kind: 'print-schema' };
  const [name, ...rest] = positionals;
  if (rest.length > 0) throw new UsageError(`unexpected argument "${rest[0]}"`);
  if (name !== undefined && !COMMANDS.includes(name)) {
    throw new UsageError(`unknown command "${name}"${didYouMean(closestName(name, COMMANDS))}`);
  }
  const config = values.config;
  if (config === undefined || config === '') throw new UsageError('--config names no file');
  switch (name) {
    case undefined:
      return values.check === true ? { kind: 'check', config } : { kind: 'serve', config };
    case 'sessions':
      return { kind: 'sessions', config, user: values.user };
    default:
      return { kind: 'revoke', config, target: revokeTarget(values) };
  }
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: OPTIONS,
    });
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    const [, typed] = /'--([^' ]+)'/.exec(message) ?? [];
    if (code !== 'ERR_PARSE_ARGS_UNKNOWN_OPTION' || typed === undefined) throw new UsageError(message);
    const meant = closestName(typed, Object.keys(OPTIONS));
    throw new UsageError(
      `unknown option --${typed}${didYouMean(meant === undefined ? undefined : `--${meant}`)}`,
    );
  }
}

function didYouMean(name: string | undefined): string {
  return name === undefined ? '' : `; did you mean ${name}?`;
}

function revokeTarget(values: { user?: string; sub?: string; session?: string }): RevokeTarget {
  const given = Object.entries({ user: values.user, sub: values.sub, session: values.session }).filter(
    ([, value]) => value !== undefined && value !== '',
  );
  if (given.length !== 1) throw new UsageError('revoke takes exactly one of --user, --sub and --session');
  return Object.fromEntries(given) as RevokeTarget;
}
