/** `make dev`: a gateway on this machine with everything around it. Ctrl-C stops all of it. */
import { chmodSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { startIdentityProvider } from './identity-provider.ts';
import { DEVELOPMENT_USERS } from './identity-provider-users.ts';
import { startMessagesUpstream } from './messages-upstream.ts';
import { startPostgres } from './postgres.ts';
import { ChildProgram } from './run/child-program.ts';
import { ConsoleLog } from './run/console-log.ts';
import { CLIENT_ID, gatewayYaml } from './run/gateway-config.ts';
import { GatewayChild } from './run/gateway-child.ts';
import { instructions } from './run/instructions.ts';
import { takeLock } from './run/lock.ts';
import { Ports, untilUnreachable } from './run/ports.ts';
import { developmentSecrets } from './run/secrets.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const log = new ConsoleLog('dev', 'cyan');
const stops: { name: string; stop: () => void | Promise<void> }[] = [];
const interrupted = new AbortController();

interface Running {
  /** Settles, with a report, when a part has gone away by itself. */
  readonly failure: Promise<string>;
}

/** Brings everything up, in order. */
async function start(env: NodeJS.ProcessEnv): Promise<Running> {
  const home = resolve(env['CLAUDE_GATEWAY_DEV_HOME'] ?? join(ROOT, '.dev'));
  const port = env['PORT'];
  const own = ownConfiguration(env['CLAUDE_GATEWAY_DEV_CONFIG']);
  mkdirSync(home, { recursive: true });
  stops.push({ name: 'lock', stop: takeLock(join(home, 'lock'), 'dev/src/main.ts') });

  const ports = new Ports(join(home, 'ports.json'));
  const secrets = developmentSecrets(join(home, 'secrets.json'));
  const gatewayPort = port ? await ports.claim('PORT', Number(port)) : await ports.choose('gateway', 8080);
  const url = `http://127.0.0.1:${gatewayPort}`;

  const postgres = await startPostgres({
    dataDir: join(home, 'postgres'),
    port: await ports.choose('postgres', 54_329),
  });
  stops.push({ name: 'PostgreSQL', stop: () => postgres.stop() });
  log.line(`PostgreSQL runs on port ${postgres.port}, data in ${postgres.dataDir}`);
  interrupted.signal.throwIfAborted();

  const peopleLog = new ConsoleLog('idp', 'magenta');
  const identityProvider = await startIdentityProvider({
    port: await ports.choose('identity provider', 8090),
    clients: [
      {
        client_id: CLIENT_ID,
        client_name: 'Claude gateway',
        client_secret: secrets.clientSecret,
        redirect_uris: [`${url}/oauth/callback`],
      },
    ],
    dataDir: join(home, 'identity-provider'),
    onEvent: (message) => peopleLog.line(message),
  });
  stops.push({ name: 'the identity provider', stop: () => identityProvider.stop() });
  log.line(`The identity provider runs at ${identityProvider.issuer}`);

  const realUpstream = Boolean(env['ANTHROPIC_API_KEY']);
  const upstream = realUpstream
    ? undefined
    : await startMessagesUpstream({ port: await ports.choose('upstream', 8091) });
  if (upstream !== undefined) {
    stops.push({ name: 'the upstream', stop: () => upstream.stop() });
    log.line(`The development upstream runs at ${upstream.url}`);
  }
  interrupted.signal.throwIfAborted();

  const written = join(home, 'gateway.yaml');
  const configPath = own ?? written;
  const config = gatewayYaml({
    port: gatewayPort,
    issuer: identityProvider.issuer,
    databaseUrl: postgres.url,
    ...(upstream === undefined ? {} : { upstreamUrl: upstream.url }),
    secrets,
  });
  writePrivately(written, config);
  const claudeConfigDir = join(home, 'claude');
  mkdirSync(claudeConfigDir, { recursive: true, mode: 0o700 });
  writePrivately(
    join(claudeConfigDir, 'settings.json'),
    JSON.stringify({ forceLoginMethod: 'gateway', forceLoginGatewayUrl: url }),
  );

  const gatewayLog = new ConsoleLog('gateway', 'green');
  const gateway = new GatewayChild({
    command: [
      process.execPath,
      '--conditions=source',
      '--disable-warning=ExperimentalWarning',
      join(ROOT, 'gateway/src/main.ts'),
      '--config',
      configPath,
    ],
    cwd: ROOT,
    env: {
      ...env,
      CLAUDE_GATEWAY_ALLOW_LOOPBACK: '1',
      NO_PROXY: [env['NO_PROXY'] ?? env['no_proxy'], '127.0.0.1'].filter(Boolean).join(','),
    },
    url,
    log: gatewayLog,
  });
  stops.push({ name: 'the gateway', stop: () => gateway.stop() });
  process.once('exit', () => gateway.kill());
  await gateway.ready(interrupted.signal);

  const manifests = resolve(env['CLAUDE_GATEWAY_DEV_MANIFESTS'] ?? join(ROOT, 'examples'));
  const operatorLog = new ConsoleLog('operator', 'yellow');
  const operator = new ChildProgram({
    command: [
      process.execPath,
      '--conditions=source',
      '--disable-warning=ExperimentalWarning',
      join(ROOT, 'operator/src/main.ts'),
      '--manifests',
      manifests,
    ],
    cwd: ROOT,
    env: { ...env, DATABASE_URL: postgres.url },
    log: operatorLog,
  });
  stops.push({ name: 'the operator', stop: () => operator.stop() });
  process.once('exit', () => operator.kill());

  console.log(
    instructions({
      url,
      issuer: identityProvider.issuer,
      databaseUrl: postgres.url,
      upstream: upstream?.url ?? 'https://api.anthropic.com, with your ANTHROPIC_API_KEY: answers cost money',
      configPath,
      manifests,
      claudeConfigDir,
      users: DEVELOPMENT_USERS,
      adminKey: secrets.adminKey,
    }),
  );
  const gatewayEnded = gateway.ended.then((how) =>
    [`the gateway ${how}; its last lines:`, ...gatewayLog.tail.slice(-15)].join('\n  '),
  );
  const operatorEnded = operator.ended.then((how) =>
    [`the operator ${how}; its last lines:`, ...operatorLog.tail.slice(-15)].join('\n  '),
  );
  const postgresEnded = untilUnreachable(postgres.port, interrupted.signal).then(
    () =>
      `PostgreSQL went away (port ${postgres.port} answers no more); its data stays in ${postgres.dataDir}`,
  );
  return { failure: Promise.race([gatewayEnded, operatorEnded, postgresEnded]) };
}

/** The gateway.yaml that somebody made of the one that is written here. @throws Error when there is no such file. */
function ownConfiguration(name: string | undefined): string | undefined {
  if (name === undefined || name === '') return undefined;
  const path = resolve(ROOT, name);
  if (!existsSync(path))
    throw new Error(`there is no ${path}: copy .dev/gateway.yaml there, and edit the copy`);
  return path;
}

function writePrivately(path: string, content: string): void {
  writeFileSync(path, content, { mode: 0o600 });
  // The mode above is for new files only.
  chmodSync(path, 0o600);
}

/** Stops what runs, last started first. */
async function stopAll(): Promise<void> {
  for (const { name, stop } of stops.splice(0).reverse()) {
    try {
      await stop();
    } catch (error) {
      log.line(`could not stop ${name}: ${String(error)}`);
    }
  }
}

async function main(): Promise<number> {
  const stopRequested = new Promise<'stop'>((settle) => {
    interrupted.signal.addEventListener('abort', () => settle('stop'), { once: true });
  });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (interrupted.signal.aborted) return;
      console.log('');
      log.line('Stopping …');
      interrupted.abort();
    });
  }
  let code = 0;
  try {
    const { failure } = await start(process.env);
    const outcome = await Promise.race([stopRequested, failure]);
    if (outcome !== 'stop') {
      log.line(outcome);
      code = 1;
    }
  } catch (error) {
    if (!interrupted.signal.aborted) {
      log.line((error as Error).message);
      code = 1;
    }
  }
  await stopAll();
  log.line(code === 0 ? 'Everything is stopped; the data stays in .dev/' : 'Everything else is stopped.');
  return code;
}

process.exit(await main());
