import { StoreBusyError, StoreUnavailableError } from '@claude-gateway/prisma';
import type { ErrorRequestHandler, RequestHandler } from 'express';
import { contextOf } from '../http/context.ts';
import { ApiError } from '../http/errors.ts';

/** Puts what went wrong into the words of this API; what it does not know passes on. */
export const adminErrors: ErrorRequestHandler = (error: unknown, request, _response, next) => {
  if (error instanceof StoreUnavailableError) {
    const { id, log } = contextOf(request);
    const busy = error instanceof StoreBusyError;
    // Whom the store refused because it is busy it counts and logs itself.
    if (!busy) log.warn({ err: error, request_id: id }, 'admin API: the store is away');
    const message = busy
      ? 'Too many requests at once: try again in a moment.'
      : 'The store does not answer: try again in a moment.';
    next(
      new ApiError('api_error', message, {
        status: 503,
        headers: { 'retry-after': '5' },
        cause: error,
      }),
    );
  } else if (error instanceof Error && 'status' in error && error.status === 413) {
    next(new ApiError('request_too_large', 'The body is larger than 1 MiB.'));
  } else next(error);
};

/** Whatever no route answered, for callers who are let in. */
export const nothingHere: RequestHandler = () => {
  throw new ApiError('not_found_error', 'There is nothing here, or not with this method.');
};
