import { hostname } from 'node:os';
import type { GatewayConfig } from '@claude-gateway/contract';
import { ConfigError, restartRequired } from '@claude-gateway/contract';
import { openStore, StoreUnavailableError, type Store } from '@claude-gateway/prisma';
import { CertificateExpiry } from './certificate-expiry.ts';
import { readConfiguration, type ConfigurationVersion } from './configuration-source.ts';
import { Listener } from './http/listener.ts';
import { contentsOf, watchFiles, type FileContents } from './http/watched-files.ts';
import { outboundProxy, type ProxyOptions } from './net/http-client.ts';
import type { Audit } from './observe/audit.ts';
import type { Log } from './observe/log.ts';
import { createMetrics } from './observe/metrics/metrics.ts';
import { MetricsServer } from './observe/metrics/server.ts';
import { SettingsFetchLog } from './policy/settings-fetches.ts';
import { createRuntime, publicUrlOf, type Resources, type Runtime } from './pipeline.ts';
import { readRegularFile } from './regular-file.ts';
import { createLearned } from './spend/admission/admission.ts';
import { ReplicaLedger } from './spend/ledger/replica-ledger.ts';
import { PrincipalLog } from './spend/principals.ts';
import { AbandonedReads } from './upstream/abandoned-reads.ts';

export interface ServeOptions {
  readonly configPath: string;
  /** For `${VAR}` in the configuration. */
  readonly env: NodeJS.ProcessEnv;
  readonly allowLoopback: boolean;
  readonly proxy: ProxyOptions;
  readonly version: string;
  readonly log: Log;
  readonly audit: Audit;
}

/** How long PostgreSQL may take to take the last settlements. */
const SETTLE_WITHIN_MS = 15_000;
/** How long until a configuration is tried again that failed for a reason outside the file. */
const RELOAD_RETRY_MS = 30_000;

/**
 * A running gateway. Starts closed: whatever cannot work (configuration, PostgreSQL, an identity provider, the port)
 * ends the start with an Error in one line, and nothing is left open.
 */
export class Gateway {
  readonly #options: ServeOptions;
  readonly #store: Store;
  readonly #listener: Listener;
  readonly #resources: Resources;
  readonly #metrics: MetricsServer | undefined;
  #version: ConfigurationVersion;
  #runtime: Runtime;
  #watcher: { close(): void } | undefined;
  #tlsWatcher: { close(): void } | undefined;
  readonly #expiry: CertificateExpiry;
  #retry: NodeJS.Timeout | undefined;
  /** One reload at a time; a notice during one makes another. */
  #reloading: Promise<void> = Promise.resolve();

  private constructor(
    options: ServeOptions,
    started: {
      version: ConfigurationVersion;
      store: Store;
      resources: Resources;
      runtime: Runtime;
      listener: Listener;
      metrics: MetricsServer | undefined;
      expiry: CertificateExpiry;
    },
  ) {
    this.#options = options;
    this.#version = started.version;
    this.#store = started.store;
    this.#resources = started.resources;
    this.#runtime = started.runtime;
    this.#listener = started.listener;
    this.#metrics = started.metrics;
    this.#expiry = started.expiry;
    this.#watch();
  }

  static async start(given: ServeOptions): Promise<Gateway> {
    const { log } = given;
    const version = readConfiguration(given.configPath, given.env);
    const { config } = version;
    let listening: Listener | undefined;
    let ledger: ReplicaLedger | undefined;
    let policyRevision = (): bigint => 0n;
    const expiry = new CertificateExpiry(log, Date.now);
    const abandonedReads = new AbandonedReads();
    const metrics =
      config.metrics === undefined
        ? undefined
        : createMetrics({
            version: given.version,
            sources: {
              inFlight: () => listening?.inFlight ?? 0,
              bufferedRequestBytes: () => listening?.bufferedBodyBytes ?? 0,
              connections: () => listening?.connections() ?? Promise.resolve(0),
              draining: () => listening?.draining ?? false,
              openHolds: () => ledger?.open ?? 0,
              abandonedReads: () => abandonedReads.size,
              queuedSettlements: () => ledger?.queued ?? 0,
              policyRevision: () => policyRevision(),
            },
            now: Date.now,
          });
    const audit = metrics === undefined ? given.audit : metrics.events.watch(given.audit);
    const options: ServeOptions = { ...given, audit };
    audit('config.load', { path: options.configPath, sha256: version.sha256 });
    for (const warning of version.warnings) log.warn({ path: warning.path }, warning.message);

    const proxy = outboundProxy(options.proxy, config, log);
    const clock = (): Date => new Date();
    const store = await openStore({
      ...storeOptions(config, log),
      startTimeoutSeconds: config.store.start_timeout_seconds,
    });
    let runtime: Runtime | undefined;
    let metricsServer: MetricsServer | undefined;
    try {
      ledger = await store.duringStart(() =>
        ReplicaLedger.start({
          store: metrics === undefined ? store.ledger : metrics.transactions.watch(store.ledger),
          name: hostname(),
          version: options.version,
          policyRevision: () => policyRevision(),
          isUnavailable: (error) => error instanceof StoreUnavailableError,
          log,
        }),
      );
      const resources: Resources = {
        store,
        ledger,
        learned: createLearned(),
        abandonedReads,
        principals: new PrincipalLog({ usage: store.usage, clock, log }),
        settingsFetches: new SettingsFetchLog({ store: store.settingsClients, clock, log }),
        log,
        audit,
        clock,
        version: options.version,
        allowLoopback: options.allowLoopback,
        proxy,
        isDraining: () => listening?.draining ?? false,
        metrics,
      };
      runtime = await store.duringStart(() => createRuntime(config, resources));
      ({ policyRevision } = runtime);
      ledger.policyChanged();
      for (const warning of runtime.warnings) log.warn(warning);
      const { tls } = config.listen;
      const certificate = tls === undefined ? undefined : readCertificate(tls);
      if (tls !== undefined && certificate !== undefined) expiry.watch(certificate.cert, tls.cert);
      const listener = new Listener(
        {
          host: config.listen.host,
          port: config.listen.port,
          ...(certificate === undefined ? {} : { tls: certificate }),
          maxHeaderBytes: config.limits.max_request_header_bytes,
          log,
          audit,
          counts: metrics?.requests,
        },
        runtime.rules,
        runtime.handle,
      );
      listening = listener;
      if (metrics !== undefined && config.metrics !== undefined) {
        metricsServer = await MetricsServer.start({ ...config.metrics, registry: metrics.registry });
        log.info({ host: config.metrics.host, port: metricsServer.port }, 'serving metrics');
      }
      const port = await listener.listen();
      log.info(
        {
          version: options.version,
          host: config.listen.host,
          port,
          public_url: publicUrlOf(config),
          identity_providers: config.oidc.map(({ issuer }) => issuer),
          upstreams: config.upstreams.map(({ name }) => name),
        },
        'listening',
      );
      const gateway = new Gateway(options, {
        version,
        store,
        resources,
        runtime,
        listener,
        metrics: metricsServer,
        expiry,
      });
      policyRevision = () => gateway.#runtime.policyRevision();
      return gateway;
    } catch (error) {
      expiry.close();
      await metricsServer?.close();
      await runtime?.parts.close();
      await ledger?.close(0);
      await store.close();
      throw error;
    }
  }

  /** Reads the configuration again; a broken one is refused, and the one in force stays. */
  reload(): Promise<void> {
    this.#reloading = this.#reloading.then(() => this.#reload());
    return this.#reloading;
  }

  /**
   * Leaves service; see {@link Listener.drain}.
   *
   * @param delayMs How long to go on serving while load balancers take notice; default `shutdown.delay_seconds`.
   * @returns how many requests had to be cut.
   */
  async stop(delayMs?: number): Promise<number> {
    const { delay_seconds, grace_seconds } = this.#version.config.shutdown;
    const delay = delayMs ?? delay_seconds * 1000;
    this.#options.log.info({ in_flight: this.#listener.inFlight, delay_seconds: delay / 1000 }, 'draining');
    this.#watcher?.close();
    this.#tlsWatcher?.close();
    this.#expiry.close();
    const deadline = performance.now() + delay + grace_seconds * 1000;
    const cut = await this.#listener.drain(delay, grace_seconds * 1000);
    // What clients left behind is read on as long as a request could have been served, and no longer.
    await this.#resources.abandonedReads.close(deadline - performance.now());
    await this.#reloading;
    clearTimeout(this.#retry);
    await this.#runtime.parts.close();
    await Promise.all([this.#resources.principals.close(), this.#resources.settingsFetches.close()]);
    // What was used has to be in the budgets before this replica goes.
    const unsettled = await this.#resources.ledger.close(SETTLE_WITHIN_MS);
    await this.#store.close();
    // Last: a replica that drains, or cannot settle, is still to be seen.
    await this.#metrics?.close();
    this.#options.log.info({ cut, unsettled }, 'stopped');
    return cut;
  }

  async #reload(): Promise<void> {
    const { log, audit, configPath, env } = this.#options;
    clearTimeout(this.#retry);
    const read = new Map<string, string | undefined>();
    try {
      const version = readConfiguration(configPath, env, read);
      // Whatever becomes of the rest: the old password may be good no longer.
      this.#store.renewCredentials(credentialsOf(version.config));
      const runtime = await createRuntime(version.config, this.#resources, this.#runtime);
      const previous = { version: this.#version, runtime: this.#runtime };
      this.#version = version;
      this.#runtime = runtime;
      this.#listener.update(runtime.rules, runtime.handle);
      this.#watch();
      audit('config.load', { path: configPath, sha256: version.sha256 });
      for (const warning of version.warnings) log.warn({ path: warning.path }, warning.message);
      for (const warning of runtime.warnings) log.warn(warning);
      const waiting = restartRequired(previous.version.config, version.config);
      if (waiting.length > 0) log.warn({ paths: waiting }, 'some changes take effect only after a restart');
      log.info({ sha256: version.sha256 }, 'configuration reloaded');
      await previous.runtime.parts.close(runtime.parts);
    } catch (error) {
      const reason = (error as Error).message;
      log.error(
        { path: configPath, reason },
        'the new configuration was refused; the old one stays in force',
      );
      audit('config.reject', { path: configPath, reason });
      // A file that it names may come later: the kubelet updates one volume after the other.
      // Those of the old one that this attempt did not come to are as they are: only their next change is news.
      this.#watchConfiguration(new Map([...contentsOf([...this.#version.files.keys()]), ...read]));
      // A file with a problem waits for its next edit; an identity provider that was away may be back.
      if (!(error instanceof ConfigError)) {
        this.#retry = setTimeout(() => void this.reload(), RELOAD_RETRY_MS);
      }
    }
  }

  #watch(): void {
    this.#watchConfiguration(this.#version.files);
    this.#tlsWatcher?.close();
    const { tls } = this.#version.config.listen;
    if (tls !== undefined)
      this.#tlsWatcher = watchFiles(contentsOf([tls.cert, tls.key]), () => this.#reloadCertificate(tls));
  }

  #watchConfiguration(files: FileContents): void {
    this.#watcher?.close();
    this.#watcher = watchFiles(files, () => void this.reload());
  }

  #reloadCertificate(tls: { cert: string; key: string }): void {
    const { log } = this.#options;
    try {
      const pair = readCertificate(tls);
      this.#listener.setCertificate(pair);
      this.#expiry.watch(pair.cert, tls.cert);
      log.info({ cert: tls.cert }, 'TLS certificate reloaded');
    } catch (error) {
      const reason = (error as Error).message;
      log.error({ cert: tls.cert, reason }, 'the new TLS certificate was refused; the old one stays in use');
    }
  }
}

function readCertificate(tls: { cert: string; key: string }): { cert: string; key: string } {
  const read = (field: 'cert' | 'key'): string => {
    try {
      return readRegularFile(tls[field]);
    } catch (error) {
      throw new Error(`listen.tls.${field}: cannot read ${tls[field]}: ${(error as Error).message}`, {
        cause: error,
      });
    }
  };
  return { cert: read('cert'), key: read('key') };
}

/**
 * Revoked sessions are remembered for at least this long, whatever `session.ttl_hours` says now: tokens of an earlier,
 * longer setting may still be about.
 */
const REVOCATION_MEMORY_HOURS = 7 * 24;

function credentialsOf({ store: { postgres_url: url, username, password } }: GatewayConfig) {
  return {
    url,
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
  };
}

/** How this configuration opens the store. */
export function storeOptions(config: GatewayConfig, log: Log) {
  const { max_connections, connect_timeout_seconds } = config.store;
  const longestTokenHours = Math.max(
    REVOCATION_MEMORY_HOURS,
    config.session.ttl_hours,
    ...config.workload_identity.map(({ token_ttl_minutes }) => token_ttl_minutes / 60),
  );
  return {
    ...credentialsOf(config),
    maxConnections: max_connections,
    connectTimeoutSeconds: connect_timeout_seconds,
    ...(config.admin !== undefined && {
      retention: {
        spendMonths: config.admin.spend_retention_months,
        auditDays: config.admin.audit_retention_days,
        identityDays: config.admin.identity_retention_days,
      },
    }),
    revocationTtlSeconds: Math.ceil(longestTokenHours * 3600),
    onEvent: (level: 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) =>
      log[level](fields ?? {}, message),
  };
}
