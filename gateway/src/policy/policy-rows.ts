import {
  gatewayConfigSchema,
  validateDesktopDocument,
  validateSettingsDocument,
  type PolicyConfig,
} from '@claude-gateway/contract';
import type { Audit } from '../observe/audit.ts';
import type { Log } from '../observe/log.ts';

/** A managed policy of a custom resource, as the database has it. */
export interface PolicyRow {
  readonly owner: {
    readonly kind: string;
    readonly namespace: string;
    readonly name: string;
    readonly uid: string;
  };
  /** Unique among the policies of the owner. */
  readonly name: string;
  readonly priority: number;
  readonly position: number;
  /** An entry of `managed.policies`. */
  readonly document: unknown;
  readonly documentHash: string;
}

/** All rows, as of one revision. */
export interface PolicyRows {
  readonly revision: bigint;
  readonly policies: readonly PolicyRow[];
}

/** A row that can be served. */
export interface ServedRow {
  readonly row: PolicyRow;
  readonly policy: PolicyConfig;
}

/** The rows in force, in order of precedence. */
export interface ServedRows {
  readonly revision: bigint;
  readonly rows: readonly ServedRow[];
}

/** What was made of a row when it was last read. */
interface Known {
  /** The document, to see whether it is another one. */
  readonly text: string;
  /** The last good version. */
  readonly good: ServedRow | undefined;
}

/**
 * Makes the function that checks rows. Of a row that cannot be served the last good version stays, or the row is left
 * out when there was none; the others do not notice. It says so once for each document.
 */
export function createRowReader({
  log,
  audit,
}: {
  readonly log: Log;
  readonly audit: Audit;
}): (rows: PolicyRows) => ServedRows {
  let known = new Map<string, Known>();

  const read = (row: PolicyRow, revision: bigint, before: Known | undefined): Known => {
    const text = JSON.stringify(row.document);
    const isSame = before?.text === text;
    if (isSame && before.good?.row.documentHash === row.documentHash) {
      return { text, good: { row, policy: before.good.policy } };
    }
    const policy = readPolicy(row.document);
    if (typeof policy !== 'string') return { text, good: { row, policy } };
    if (!isSame) {
      const fields = { revision: revision.toString(), policy: labelOf(row), reason: policy };
      const consequence = before?.good === undefined ? 'it is left out' : 'its last good version stays';
      log.error(fields, `a managed policy cannot be served: ${consequence}`);
      audit('policy.reject', fields);
    }
    return { text, good: before?.good };
  };

  return ({ revision, policies }) => {
    const now = new Map<string, Known>();
    for (const row of policies) {
      const key = `${row.owner.uid} ${row.name}`;
      now.set(key, read(row, revision, known.get(key)));
    }
    known = now;
    const rows = [...now.values()].flatMap(({ good }) => good ?? []);
    return { revision, rows: rows.sort((a, b) => byPrecedence(a.row, b.row)) };
  };
}

/** How people know the policy: the resource that made it. */
export function labelOf({ owner }: PolicyRow): string {
  return `${owner.kind} ${owner.namespace}/${owner.name}`;
}

/** @returns what is wrong with it, in a sentence, when it is none. */
function readPolicy(document: unknown): PolicyConfig | string {
  const result = gatewayConfigSchema.shape.managed.safeParse({ policies: [document] });
  if (!result.success) {
    // Paths begin with `policies[0]`.
    return result.error.issues
      .map(({ path, message }) => sentence(path.slice(2).join('.'), message))
      .join('; ');
  }
  const policy = result.data.policies[0] as PolicyConfig;
  const problems = (['code', 'cli', 'settings', 'desktop'] as const).flatMap((block) => {
    if (policy[block] === undefined) return [];
    const validate = block === 'desktop' ? validateDesktopDocument : validateSettingsDocument;
    return validate(policy[block]).problems.map(({ path, message }) =>
      sentence(path === '' ? block : `${block}.${path}`, message),
    );
  });
  return problems.length > 0 ? problems.join('; ') : policy;
}

function sentence(path: string, message: string): string {
  return path === '' ? message : `${path}: ${message}`;
}

/** By code unit, so that every replica agrees, whatever its locale. */
function byPrecedence(a: PolicyRow, b: PolicyRow): number {
  return (
    b.priority - a.priority ||
    compare(a.owner.name, b.owner.name) ||
    a.position - b.position ||
    compare(a.name, b.name)
  );
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
