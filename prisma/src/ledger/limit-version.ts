import { createHash } from 'node:crypto';
import { lowerAscii } from '../storable.ts';
import type { SpendLimit } from './limit-types.ts';

const DIGEST_CHARACTERS = 22;

/**
 * Names one version of a limit: the opaque tag of its strong entity tag (RFC 9110 §8.8.3), without the quotes. Equal
 * for limits that are equal in everything, on every replica.
 */
export function versionOf(limit: SpendLimit): string {
  const { owner } = limit;
  const everything = [
    limit.id,
    limit.scope.type,
    scopeNameOf(limit.scope),
    limit.period,
    limit.unit,
    limit.sharing,
    limit.amount?.toString() ?? null,
    limit.mode,
    limit.whenShort,
    limit.failurePolicy,
    limit.timeZone,
    limit.warnAtPercent,
    limit.blockedMessage,
    limit.policyName,
    owner === null ? null : [owner.kind, owner.namespace, owner.name, owner.uid],
    limit.createdAt.getTime(),
    limit.updatedAt.getTime(),
  ];
  return createHash('sha256')
    .update(JSON.stringify(everything))
    .digest('base64url')
    .slice(0, DIGEST_CHARACTERS);
}

/** How a scope's name is stored: an address in lower case, everything else as it was given. */
export function scopeNameOf(scope: SpendLimit['scope']): string {
  switch (scope.type) {
    case 'organization':
      return '';
    case 'rbac_group':
      return scope.group;
    case 'user':
      return scope.user.includes('@') ? lowerAscii(scope.user) : scope.user;
  }
}
