#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { pino } from 'pino';
import { ConfigError, jsonSchema } from '@claude-gateway/contract';
import { listSessions, revokeSessions } from './auth/session/revoke-command.ts';
import { parseCommandLine, USAGE, UsageError, type Command } from './command-line.ts';
import { readConfiguration } from './configuration-source.ts';
import { openStore, type Store } from '@claude-gateway/prisma';
import { checkNamedFiles } from './named-files.ts';
import { createAudit } from './observe/audit.ts';
import type { ProxyOptions } from './net/http-client.ts';
import { createLog } from './observe/log.ts';
import { Gateway, storeOptions } from './serve.ts';
import { keepRequestsYoung } from './young-generation.ts';

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

/** @returns the exit code. */
async function run(command: Command): Promise<number> {
  switch (command.kind) {
    case 'help':
      process.stdout.write(USAGE);
      return 0;
    case 'version':
      process.stdout.write(`claude-gateway ${version}\n`);
      return 0;
    case 'print-schema':
      process.stdout.write(`${JSON.stringify(jsonSchema(), null, 2)}\n`);
      return 0;
    case 'check':
      return check(command.config);
    case 'sessions':
    case 'revoke':
      return withStore(command.config, (store) => {
        const write = (text: string): void => void process.stdout.write(text);
        return command.kind === 'sessions'
          ? listSessions(store, command.user === undefined ? {} : { user: command.user }, write)
          : revokeSessions(store, command.target, write);
      });
    case 'serve':
      return serve(command.config);
  }
}

function check(path: string): number {
  const { config, warnings } = readConfiguration(path, process.env);
  const named = checkNamedFiles(config);
  if (named.problems.length > 0) throw new ConfigError(named.problems, path);
  for (const warning of [...warnings, ...named.warnings])
    process.stderr.write(`${path}: warning: ${warning.path}: ${warning.message}\n`);
  process.stdout.write(`${path}: valid\n`);
  return 0;
}

async function withStore(configPath: string, use: (store: Store) => Promise<number>): Promise<number> {
  const { config } = readConfiguration(configPath, process.env);
  const store = await openStore(storeOptions(config, createLog('error')));
  try {
    return await use(store);
  } finally {
    await store.close();
  }
}

async function serve(configPath: string): Promise<number> {
  keepRequestsYoung();
  const { env } = process;
  // One stream for both, so that lines never interleave.
  const output = pino.destination({ fd: 2, sync: false });
  const log = createLog(env['CLAUDE_GATEWAY_LOG_LEVEL'] ?? 'info', output);
  // A start may wait for a database for a minute, and process 1 of a container ends at no signal that it does not listen to.
  const leave = (name: NodeJS.Signals): void => {
    log.info({ signal: name }, 'stopped before it had started');
    output.flushSync();
    process.exit(128 + constants.signals[name]);
  };
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.on(name, leave);
  const gateway = await Gateway.start({
    configPath,
    env,
    allowLoopback: env['CLAUDE_GATEWAY_ALLOW_LOOPBACK'] === '1',
    proxy: proxyOf(env),
    version,
    log,
    audit: createAudit(output),
  });
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.off(name, leave);
  process.on('SIGHUP', () => void gateway.reload());
  const signal = await new Promise<NodeJS.Signals>((resolve) => {
    for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, resolve);
  });
  // A second signal ends the process at once: somebody is waiting at a terminal.
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => process.exit(130));
  await gateway.stop(signal === 'SIGINT' ? 0 : undefined);
  return 0;
}

function proxyOf(env: NodeJS.ProcessEnv): ProxyOptions {
  return {
    httpProxy: env['HTTP_PROXY'] ?? env['http_proxy'] ?? '',
    httpsProxy: env['HTTPS_PROXY'] ?? env['https_proxy'] ?? '',
    noProxy: env['NO_PROXY'] ?? env['no_proxy'] ?? '',
    ...(isSet(env['CLAUDE_GATEWAY_PROXY_IS_EGRESS_BOUNDARY']) && { resolve: 'proxy' }),
    ...(isSet(env['CLAUDE_GATEWAY_IDP_CONNECT_BY_HOSTNAME']) && { resolveIdentityProviders: 'proxy' }),
  };
}

function isSet(value: string | undefined): boolean {
  return /^(1|true|yes|on)$/i.test(value?.trim() ?? '');
}

// `claude-gateway --print-schema | head`: a reader that has seen enough is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
});

try {
  process.exitCode = await run(parseCommandLine(process.argv.slice(2)));
} catch (error) {
  if (error instanceof UsageError) {
    process.stderr.write(`claude-gateway: ${error.message}\n\n${USAGE}`);
    process.exitCode = 2;
  } else {
    const text = error instanceof ConfigError ? error.format() : (error as Error).message;
    process.stderr.write(`claude-gateway: ${text}\n`);
    process.exitCode = 1;
  }
}
