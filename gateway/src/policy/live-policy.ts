import type { Audit } from '../observe/audit.ts';
import type { Log } from '../observe/log.ts';
import type { ServedRows } from './policy-rows.ts';
import { compilePolicy, type Policy, type PolicyOptions } from './policy.ts';
import { combineWithRows } from './precedence.ts';
import type { PolicySource } from './source.ts';

export interface LivePolicyDeps {
  /** The configuration file's part. */
  readonly source: PolicySource;
  readonly options: PolicyOptions;
  /** The rows in force, and whoever says that they are others. */
  readonly rows: {
    readonly current: ServedRows;
    onSwap(listener: (rows: ServedRows) => void): () => void;
  };
  /** Called when other rows are in force. */
  readonly onSwap: () => void;
  readonly log: Log;
  readonly audit: Audit;
}

/**
 * The policies of the configuration file together with those of resources, as one policy that changes when the rows
 * do. What a caller got stays as it is; each call looks at the policy of that moment.
 */
export class LivePolicy implements Policy {
  readonly #deps: LivePolicyDeps;
  readonly #stop: () => void;
  #current: Policy;
  #warnings: readonly string[];
  #revision: bigint;
  #hasRows: boolean;

  /** Compiles at once: what is wrong with rows is in {@link warnings} and stops nothing. */
  constructor(deps: LivePolicyDeps) {
    this.#deps = deps;
    const rows = deps.rows.current;
    ({ policy: this.#current, warnings: this.#warnings } = this.#compile(rows));
    this.#revision = rows.revision;
    this.#hasRows = rows.rows.length > 0;
    this.#stop = deps.rows.onSwap((next) => this.#take(next));
  }

  /** Of the rows in force. */
  get revision(): bigint {
    return this.#revision;
  }

  /** Whether resources brought any policy. */
  get hasRows(): boolean {
    return this.#hasRows;
  }

  get warnings(): readonly string[] {
    return this.#warnings;
  }

  readonly namesGroup: Policy['namesGroup'] = (group) => this.#current.namesGroup(group);
  readonly checkModel: Policy['checkModel'] = (principal, requested) =>
    this.#current.checkModel(principal, requested);
  readonly allowsEveryModel: Policy['allowsEveryModel'] = (principal) =>
    this.#current.allowsEveryModel(principal);
  readonly upstreamModel: Policy['upstreamModel'] = (canonical, upstreamName) =>
    this.#current.upstreamModel(canonical, upstreamName);
  readonly listModels: Policy['listModels'] = (principal, query) =>
    this.#current.listModels(principal, query);
  readonly findModel: Policy['findModel'] = (principal, name) => this.#current.findModel(principal, name);
  readonly settingsFor: Policy['settingsFor'] = (principal, forDesktop) =>
    this.#current.settingsFor(principal, forDesktop);
  readonly bootstrapFor: Policy['bootstrapFor'] = (principal, now) =>
    this.#current.bootstrapFor(principal, now);

  /** Follows the rows no longer. */
  close(): void {
    this.#stop();
  }

  #take(rows: ServedRows): void {
    const { log, audit } = this.#deps;
    let next: { policy: Policy; warnings: readonly string[] };
    try {
      next = this.#compile(rows);
    } catch (error) {
      const fields = { revision: rows.revision.toString(), reason: (error as Error).message };
      log.error(fields, 'managed policies do not compile: the last good ones stay');
      audit('policy.reject', fields);
      return;
    }
    const said = new Set(this.#warnings);
    this.#current = next.policy;
    this.#warnings = next.warnings;
    this.#revision = rows.revision;
    this.#hasRows = rows.rows.length > 0;
    for (const warning of next.warnings) if (!said.has(warning)) log.warn(warning);
    this.#deps.onSwap();
  }

  #compile({ rows }: ServedRows): { policy: Policy; warnings: readonly string[] } {
    const { source, options } = this.#deps;
    const { policies, leftOut } = combineWithRows(source.managed.policies, rows);
    const policy = compilePolicy({ ...source, managed: { ...source.managed, policies } }, options);
    return { policy, warnings: [...leftOut, ...policy.warnings] };
  }
}
