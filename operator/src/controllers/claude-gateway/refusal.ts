import { isKubeError } from '../../kube/errors.ts';
import type { ResourceType } from '../../kube/objects.ts';
import type { RefusedChild } from '../../status/facts.ts';

/**
 * What the API server has against a child: its content, or making it at all (a quota, an admission policy, RBAC). Trying again
 * does not help, and what else there is to do need not wait for it.
 *
 * @throws the error itself when it is no such refusal.
 */
export function refusalOf(error: unknown, { kind }: ResourceType, name: string): RefusedChild {
  if (!isKubeError(error, 'invalid') && !isKubeError(error, 'forbidden')) throw error;
  // Of a missing right, the message says how to grant it.
  const isMissingRight = error.message.includes('grant the service account');
  return {
    kind,
    name,
    cause: isMissingRight ? 'right' : error.kind === 'forbidden' ? 'cluster' : 'content',
    detail: isMissingRight ? error.message : error.detail,
  };
}
