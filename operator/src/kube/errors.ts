import { pathOf, type ResourceType } from './objects.ts';

export type KubeErrorKind =
  | 'notFound'
  | 'alreadyExists'
  | 'conflict'
  | 'gone'
  | 'invalid'
  | 'unauthorized'
  | 'forbidden'
  | 'unavailable'
  | 'other';

/** What was asked for, in the words of RBAC. */
export interface KubeCall {
  readonly verb: string;
  readonly type: ResourceType;
  readonly namespace?: string | undefined;
  readonly name?: string | undefined;
  readonly subresource?: string | undefined;
}

/** A call that the API server refused or did not answer. The message names the call and, where RBAC refused, the remedy. */
export class KubeError extends Error {
  readonly kind: KubeErrorKind;
  /** HTTP status; 0 when there was no answer. */
  readonly status: number;
  /** What the API server said, without the call. */
  readonly detail: string;
  readonly call: KubeCall;
  /** Seconds, as Retry-After said. */
  readonly retryAfter: number | undefined;

  constructor(
    call: KubeCall,
    status: number,
    detail: string,
    reason?: string,
    retryAfter?: number,
    cause?: unknown,
  ) {
    const kind = classify(status, reason, detail);
    const isMissingRight = kind === 'forbidden' && BY_RBAC.test(detail);
    super(`cannot ${describeCall(call)}: ${detail}${isMissingRight ? `; ${remedy(call)}` : ''}`, { cause });
    this.name = 'KubeError';
    this.kind = kind;
    this.status = status;
    this.detail = detail;
    this.call = call;
    this.retryAfter = retryAfter;
  }
}

/** Whether this is an error of the API of the given kind. */
export function isKubeError(error: unknown, kind?: KubeErrorKind): error is KubeError {
  return error instanceof KubeError && (kind === undefined || error.kind === kind);
}

/** As RBAC words it; quotas, pod security and admission webhooks forbid too, and no role helps there. */
const BY_RBAC = / cannot \w+ resource "/;

/** What server-side apply answers, with status 500, to a value that does not fit the type of its field. */
const WRONG_TYPE = /^failed to (create typed patch object|convert new object)/;

/** Kinds by `reason` where one status has two meanings (409), else by status, and by `detail` where the status is wrong. */
export function classify(status: number, reason?: string, detail = ''): KubeErrorKind {
  if (reason === 'AlreadyExists') return 'alreadyExists';
  if (status === 404) return 'notFound';
  if (status === 409) return 'conflict';
  if (status === 410) return 'gone';
  if (status === 400 || status === 422 || (status === 500 && WRONG_TYPE.test(detail))) return 'invalid';
  if (status === 401) return 'unauthorized';
  if (status === 403) return 'forbidden';
  if (status === 0 || status === 429 || status >= 500) return 'unavailable';
  return 'other';
}

function describeCall({ verb, type, namespace, name, subresource }: KubeCall): string {
  const resource = `${type.plural}${type.group === '' ? '' : `.${type.group}`}${subresource ? `/${subresource}` : ''}`;
  const where =
    namespace === undefined ? (type.namespaced ? ' in all namespaces' : '') : ` in namespace ${namespace}`;
  return `${verb} ${resource}${name === undefined ? '' : ` "${name}"`}${where}`;
}

function remedy({ verb, type, namespace, subresource }: KubeCall): string {
  const resource = `${type.plural}${subresource ? `/${subresource}` : ''}`;
  const role = namespace === undefined ? 'ClusterRole' : `Role in namespace ${namespace}`;
  return `grant the service account verb "${verb}" on resource "${resource}" of API group "${type.group}" in a ${role}`;
}

/** The path of a call, for logs. */
export function callPath({ type, namespace, name, subresource }: KubeCall): string {
  return pathOf(type, namespace, name, subresource);
}

/**
 * An error as fields of a log line. A refusal of the API server, or a database that is away, says all in its message; a stack
 * is for what nobody expected.
 */
export function reasonOrError(error: unknown): { readonly reason: string } | { readonly err: unknown } {
  if (isKubeError(error)) return { reason: error.message };
  if (error instanceof Error && error.name === 'StoreUnavailableError') return { reason: error.message };
  return { err: error };
}
