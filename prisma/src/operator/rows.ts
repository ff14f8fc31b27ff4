import type pg from 'pg';
import type { TrailEntry } from '../ledger/limit-trail.ts';
import type { LimitOwner } from '../ledger/limit-types.ts';

/** Within the transaction. @returns the rows. */
export type Query = <Row extends pg.QueryResultRow>(text: string, values: unknown[]) => Promise<Row[]>;

/** What is to be done to rows. */
export interface Plan {
  /** Uids of the owners to whose rows anything is done. */
  readonly changed: ReadonlySet<string>;
  readonly trail: readonly TrailEntry[];
  /** In this order. */
  readonly statements: readonly { readonly text: string; readonly values: unknown[] }[];
}

/** Rows that one statement writes, or owners whose rows it reads. */
const CHUNK = 1_000;

export function chunksOf<Item>(items: readonly Item[], size = CHUNK): Item[][] {
  const chunks: Item[][] = [];
  for (let i = 0; i < items.length; i += size) chunks.push(items.slice(i, i + size));
  return chunks;
}

/** In the trail of changes. */
export function actorOf({ kind, namespace, name }: LimitOwner): string {
  return `resource:${kind}/${namespace}/${name}`;
}

export function sameOwner(a: LimitOwner, b: LimitOwner): boolean {
  return a.uid === b.uid && a.kind === b.kind && a.namespace === b.namespace && a.name === b.name;
}
