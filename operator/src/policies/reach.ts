import type { ClaudeGateway, ManagedSettings, SpendPolicy } from '@claude-gateway/crds';

export type Policy = SpendPolicy | ManagedSettings;

/** Gateways that have their policies in common, because they have their database in common. */
export interface Database {
  readonly gateways: readonly ClaudeGateway[];
}

/** Which databases the rows of a policy get into. */
export class Reach {
  readonly databases: readonly Database[];
  readonly #byNamespace = new Map<string, readonly Database[]>();
  readonly #byGateway = new Map<string, Database>();
  readonly #known = new Map<Policy, readonly Database[]>();

  constructor(gateways: readonly ClaudeGateway[]) {
    const shared = Map.groupBy(gateways, databaseKey);
    this.databases = [...shared.values()].map((sharing) => ({ gateways: sharing }));
    for (const database of this.databases) {
      for (const { metadata } of database.gateways) {
        this.#byGateway.set(keyOf(metadata.namespace, metadata.name), database);
        const { namespace = '' } = metadata;
        const here = this.#byNamespace.get(namespace) ?? [];
        if (!here.includes(database)) this.#byNamespace.set(namespace, [...here, database]);
      }
    }
  }

  of(policy: Policy): readonly Database[] {
    const { metadata, spec } = policy;
    if (spec.gatewayRefs === undefined) return this.#byNamespace.get(metadata.namespace ?? '') ?? [];
    let known = this.#known.get(policy);
    if (known === undefined) {
      const named = spec.gatewayRefs.flatMap(
        ({ name }) => this.#byGateway.get(keyOf(metadata.namespace, name)) ?? [],
      );
      this.#known.set(policy, (known = [...new Set(named)]));
    }
    return known;
  }
}

/** The names of the gateways of some databases. */
export function gatewayNames(databases: readonly Database[]): readonly string[] {
  return databases.flatMap(({ gateways }) => gateways.map(({ metadata }) => metadata.name));
}

const keyOf = (namespace: string | undefined, name: string): string => `${namespace ?? ''}/${name}`;

/** As far as the resources tell: two Secrets may hold the same URL. */
function databaseKey({ metadata, spec: { database } }: ClaudeGateway): string {
  const { url, urlSecretRef } = database;
  return JSON.stringify(
    url === undefined ? [metadata.namespace, urlSecretRef?.name, urlSecretRef?.key] : [url],
  );
}
