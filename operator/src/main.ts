#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { pino, type Logger } from 'pino';
import { AnswerBudget, openStore, type Store } from '@claude-gateway/prisma';
import type { DatabaseTarget } from './controllers/databases.ts';
import { readEnvironment } from './environment.ts';
import { KubeClient, loadKubeConfig } from './kube/client.ts';
import { LocalOperator } from './local/local-operator.ts';
import { Operator } from './operator.ts';

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

const USAGE = `Usage:
  claude-gateway-operator                  reconcile a cluster; see the chart for its environment
  claude-gateway-operator --manifests DIR  reconcile the policies in a folder into the database at DATABASE_URL
  claude-gateway-operator --version | --help
`;

/** Of each database, for reading and writing side by side. */
const MAX_CONNECTIONS = 3;

/** What the answers of all databases may take together: whoever may create a ClaudeGateway chooses the server. */
const MAX_ANSWER_BYTES = 64 * 1024 * 1024;

/** @returns the exit code. */
async function run(): Promise<number> {
  const { values } = parseArgs({
    options: {
      manifests: { type: 'string' },
      version: { type: 'boolean', short: 'v' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help === true || values.version === true) {
    process.stdout.write(values.help === true ? USAGE : `claude-gateway-operator ${version}\n`);
    return 0;
  }
  return values.manifests === undefined ? reconcileCluster() : reconcileFolder(values.manifests);
}

async function reconcileCluster(): Promise<number> {
  const environment = readEnvironment(process.env);
  const log = createLog(environment.logLevel);
  const client = new KubeClient(loadKubeConfig(environment.inCluster ? 'in-cluster' : 'default'), {
    userAgent: `claude-gateway-operator/${version}`,
  });
  log.info({ version, pod: environment.podName }, `claude-gateway operator ${version}`);
  const operator = await Operator.start({ environment, client, log, openStore: storeOpener(log) });
  const lost = await Promise.race([stopSignal(), operator.lost]);
  await operator.stop();
  log.info('stopped');
  return lost === undefined ? 0 : 1;
}

async function reconcileFolder(directory: string): Promise<number> {
  const url = process.env['DATABASE_URL'] ?? '';
  if (url === '') throw new Error('DATABASE_URL is not set: name the database of the gateway that runs');
  const log = createLog('error');
  const operator = await LocalOperator.start({
    directory,
    database: { url, connectTimeoutSeconds: 10 },
    openStore: storeOpener(log),
    say: (line) => process.stdout.write(`${line}\n`),
    log,
  });
  await stopSignal();
  await operator.stop();
  return 0;
}

function createLog(level: string): Logger {
  return pino(
    {
      level,
      base: undefined,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    pino.destination({ fd: 2, sync: false }),
  );
}

function storeOpener(log: Logger): (target: DatabaseTarget) => Promise<Store> {
  const answers = new AnswerBudget(MAX_ANSWER_BYTES);
  return (target) =>
    openStore({
      ...target,
      role: 'operator',
      answers,
      maxConnections: MAX_CONNECTIONS,
      revocationTtlSeconds: 0,
      onEvent: (level, message, fields) => log[level](fields ?? {}, message),
    });
}

async function stopSignal(): Promise<undefined> {
  const names = ['SIGTERM', 'SIGINT'] as const;
  await new Promise((resolve) => names.forEach((name) => process.once(name, resolve)));
  // A second signal ends the process at once: somebody is waiting at a terminal.
  for (const name of names) process.once(name, () => process.exit(130));
  return undefined;
}

try {
  process.exitCode = await run();
} catch (error) {
  const text = (error as Error).message;
  process.stderr.write(`claude-gateway operator: ${text.replaceAll('\n', '\n  ')}\n`);
  process.exitCode = 1;
}
