import { versionOf, type SpendLimit } from '@claude-gateway/prisma';
import type { Request } from 'express';
import { ApiError } from '../http/errors.ts';

/** The entity tag of a limit (RFC 9110 §8.8.3). */
export function etagOf(limit: SpendLimit): string {
  return `"${versionOf(limit)}"`;
}

/** What a write demands of the limit as it is (RFC 9110 §13.1). */
export interface Preconditions {
  /** A version, or `*` for any. */
  readonly ifMatch?: string;
  /** There must be none yet. */
  readonly ifNoneMatch?: boolean;
}

/**
 * Reads `If-Match` and `If-None-Match` of a write.
 *
 * @param current The limit as far as is known here: decides which of several tags is meant. The store checks again.
 */
export function preconditionsOf(request: Request, current: SpendLimit | undefined): Preconditions {
  const ifMatch = request.headers['if-match'];
  const ifNoneMatch = request.headers['if-none-match'];
  if (ifNoneMatch !== undefined && ifNoneMatch.trim() !== '*') {
    throw new ApiError('invalid_request_error', 'If-None-Match: only * is possible on a write.');
  }
  return {
    ...(ifMatch === undefined ? {} : { ifMatch: wantedOf(ifMatch, current) }),
    ...(ifNoneMatch === undefined ? {} : { ifNoneMatch: true }),
  };
}

/** Strong comparison: a weak tag matches nothing. */
function wantedOf(header: string, current: SpendLimit | undefined): string {
  const tags = header.split(',').map((tag) => tag.trim());
  if (tags.includes('*')) return '*';
  const known = current === undefined ? undefined : etagOf(current);
  const tag = tags.find((one) => one === known) ?? tags[0] ?? '';
  return tag.replace(/^"(.*)"$/, '$1');
}

/** Whether a reader has this limit already (weak comparison). */
export function isUnchanged(request: Request, limit: SpendLimit): boolean {
  const header = request.headers['if-none-match'];
  if (header === undefined) return false;
  const etag = etagOf(limit);
  return header.split(',').some((tag) => tag.trim() === '*' || tag.trim().replace(/^W\//, '') === etag);
}

export function preconditionFailed(): ApiError {
  return new ApiError(
    'invalid_request_error',
    'The limit is not as If-Match or If-None-Match demands: read it again, then decide.',
    { status: 412 },
  );
}

/** Rows of custom resources are written there and nowhere else. */
export function ownedByResource(limit: SpendLimit): ApiError {
  const { owner } = limit;
  const resource = owner === null ? 'a custom resource' : `${owner.kind} ${owner.namespace}/${owner.name}`;
  return new ApiError(
    'invalid_request_error',
    `This limit (${limit.id}) belongs to ${resource} and is read-only here: change it there.`,
    { status: 409 },
  );
}
