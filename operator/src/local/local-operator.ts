import type { ClaudeGateway, ManagedSettings, SpendPolicy } from '@claude-gateway/crds';
import type { Store } from '@claude-gateway/prisma';
import { Databases, type DatabaseTarget } from '../controllers/databases.ts';
import type { PolicyResource } from '../controllers/policies/compiled.ts';
import { managedSettingsFacts, spendPolicyFacts } from '../controllers/policies/facts.ts';
import { gather } from '../controllers/policies/gather.ts';
import { PolicyIndex } from '../controllers/policies/policy-index.ts';
import { RowsReconciler } from '../controllers/policies/rows-reconciler.ts';
import { subjectsOf } from '../controllers/policies/subjects.ts';
import type { ControllerLog } from '../kube/controller.ts';
import { keyOf } from '../kube/objects.ts';
import { WorkQueue, type ReconcileResult } from '../kube/work-queue.ts';
import { managedSettingsStatus } from '../status/managed-settings-status.ts';
import { spendPolicyStatus } from '../status/spend-policy-status.ts';
import { ManifestFolder } from './manifests.ts';
import { MemoryCache } from './memory-cache.ts';

/** A gateway takes a change over within a second; what takes longer is worth a word. */
const PATIENCE_MS = 5_000;

export interface LocalOperatorOptions {
  /** Of manifests. */
  readonly directory: string;
  /** The database of every gateway in it. */
  readonly database: DatabaseTarget;
  readonly openStore: (target: DatabaseTarget) => Promise<Store>;
  /** One line for people. */
  readonly say: (line: string) => void;
  readonly log: ControllerLog;
  readonly now?: () => Date;
}

/**
 * Reconciles a folder of manifests into one database, without a cluster: the same checks, the same decisions, the same rows; and
 * says of each policy what its status would say. Makes no children: the gateway is somebody else's to run.
 */
export class LocalOperator {
  readonly #options: LocalOperatorOptions;
  readonly #folder: ManifestFolder;
  readonly #gateways = new MemoryCache<ClaudeGateway>();
  readonly #spendPolicies = new MemoryCache<SpendPolicy>();
  readonly #managedSettings = new MemoryCache<ManagedSettings>();
  readonly #index: PolicyIndex;
  readonly #databases: Databases;
  readonly #rows: WorkQueue;
  readonly #statuses: WorkQueue;
  readonly #said = new Map<string, string>();
  /** Since when a policy is on its way to the gateway, in ms of the monotonic clock. */
  readonly #changing = new Map<string, number>();
  #problems = '';
  #watcher: { close(): void } | undefined;

  private constructor(options: LocalOperatorOptions) {
    this.#options = options;
    const { directory, openStore, log, say } = options;
    this.#folder = new ManifestFolder(directory);
    const caches = {
      gateways: this.#gateways,
      spendPolicies: this.#spendPolicies,
      managedSettings: this.#managedSettings,
    };
    this.#index = new PolicyIndex(caches, (policy) => this.#statuses.add(idOf(policy)));
    this.#databases = new Databases({
      open: openStore,
      log,
      interval: 5_000,
      subjects: () => subjectsOf(this.#policies()),
      onChange: () => this.#enqueueAll(),
    });
    const rows = new RowsReconciler({
      gateways: this.#gateways,
      index: this.#index,
      databases: this.#databases,
    });
    const onError = (key: string, error: unknown): void => say(`${key}: ${(error as Error).message}`);
    this.#rows = new WorkQueue((key) => rows.reconcile(key), { maxDelay: 5_000, onError });
    this.#statuses = new WorkQueue((id) => Promise.resolve(this.#tell(id)), { onError });
  }

  /** @throws Error when the folder cannot be read, or the database cannot be opened. */
  static async start(options: LocalOperatorOptions): Promise<LocalOperator> {
    const operator = new LocalOperator(options);
    await operator.#load();
    operator.#watcher = operator.#folder.watch(() => {
      operator.#load().catch((error: unknown) => options.say((error as Error).message));
    });
    return operator;
  }

  async stop(): Promise<void> {
    this.#watcher?.close();
    this.#index.stop();
    await Promise.all([this.#rows.stop(), this.#statuses.stop()]);
    await this.#databases.close();
  }

  async #load(): Promise<void> {
    const { say, database, directory } = this.#options;
    const { resources, problems } = this.#folder.read();
    const text = problems.join('\n');
    if (text !== this.#problems && text !== '') for (const problem of problems) say(problem);
    this.#problems = text;
    const of = <T extends PolicyResource | ClaudeGateway>(kind: T['kind']): T[] =>
      resources.filter((resource) => resource.kind === kind) as unknown as T[];
    this.#gateways.replace(of<ClaudeGateway>('ClaudeGateway'));
    this.#spendPolicies.replace(of<SpendPolicy>('SpendPolicy'));
    this.#managedSettings.replace(of<ManagedSettings>('ManagedSettings'));
    const gateways = [...this.#gateways.list()];
    if (gateways.length === 0) say(`${directory} has no ClaudeGateway, so its policies are for nobody`);
    for (const gateway of gateways) await this.#databases.attach(keyOf(gateway), database);
    this.#enqueueAll();
  }

  #policies(): PolicyResource[] {
    return [...this.#spendPolicies.list(), ...this.#managedSettings.list()];
  }

  #enqueueAll(): void {
    for (const gateway of this.#gateways.list()) this.#rows.add(keyOf(gateway));
    for (const policy of this.#policies()) this.#statuses.add(idOf(policy));
    for (const id of this.#said.keys()) if (this.#find(id) === undefined) this.#statuses.add(id);
  }

  #find(id: string): PolicyResource | undefined {
    const [kind, key = ''] = id.split(' ');
    return kind === 'SpendPolicy' ? this.#spendPolicies.get(key) : this.#managedSettings.get(key);
  }

  /** Says how a policy stands, when that is news; not of what is about to change by itself. */
  #tell(id: string): ReconcileResult | void {
    const { say, now = () => new Date() } = this.#options;
    const policy = this.#find(id);
    if (policy === undefined) {
      if (this.#said.delete(id)) say(`${id} is gone, and its limits or settings with it`);
      return;
    }
    const before = policy.status?.conditions ?? [];
    const status =
      policy.kind === 'SpendPolicy'
        ? spendPolicyStatus(
            {
              ...spendPolicyFacts(gather(policy, this.#index, this.#databases), this.#index, this.#databases),
              // A database that is minutes old has seen nobody, and that says nothing of how a name is spelled.
              seen: undefined,
            },
            before,
            now(),
          )
        : managedSettingsStatus(
            managedSettingsFacts(gather(policy, this.#index, this.#databases), this.#index, this.#databases),
            before,
            now(),
          );
    const cache = policy.kind === 'SpendPolicy' ? this.#spendPolicies : this.#managedSettings;
    cache.setStatus(keyOf(policy), status);
    const line = (status.conditions ?? [])
      .map(
        ({ type, status: is, reason, message }) =>
          `${is === 'True' ? type : `${type}: ${is} (${reason})`}: ${message}`,
      )
      .join(' ');
    if (this.#said.get(id) === line) return;
    const since = this.#changing.get(id);
    if ((status.conditions ?? []).some(({ reason }) => reason === 'Progressing')) {
      if (since === undefined) this.#changing.set(id, performance.now());
      if (since === undefined || performance.now() - since < PATIENCE_MS)
        return { requeueAfter: PATIENCE_MS };
    }
    this.#changing.delete(id);
    this.#said.set(id, line);
    say(`${id}: ${line}`);
  }
}

const idOf = (policy: PolicyResource): string => `${policy.kind} ${keyOf(policy)}`;
