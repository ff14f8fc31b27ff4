import type { ErrorRequestHandler } from 'express';
import { StoreBusyError, StoreUnavailableError } from '@claude-gateway/prisma';
import { contextOf } from '../../http/context.ts';
import { OAuthError, sendOAuthError } from '../../http/errors.ts';
import { tryAgain } from './grant.ts';

const STORE_RETRY_SECONDS = 5;

/** Answers whatever went wrong at an OAuth endpoint in OAuth's own form. */
export const answerOAuthFailure: ErrorRequestHandler = (error: unknown, request, response, _next) => {
  const { id, log } = contextOf(request);
  response.setHeader('pragma', 'no-cache');
  if (error instanceof OAuthError) {
    sendOAuthError(response, error);
  } else if (error instanceof StoreBusyError) {
    // Counted and logged by the store: a line for each of a flood would be one.
    sendOAuthError(response, tryAgain('The gateway is busy; try again.', STORE_RETRY_SECONDS));
  } else if (error instanceof StoreUnavailableError) {
    log.warn({ err: error, request_id: id, path: request.path }, 'the store is away');
    sendOAuthError(
      response,
      tryAgain('The gateway cannot reach its database; try again.', STORE_RETRY_SECONDS),
    );
  } else {
    const status = clientFault(error);
    if (status !== undefined) {
      sendOAuthError(response, new OAuthError('invalid_request', describe(status), { status }));
    } else {
      log.error({ err: error, request_id: id, path: request.path }, 'request failed');
      sendOAuthError(response, new OAuthError('server_error', `The gateway failed (${id}).`));
    }
  }
};

/** The status that body parsers put on what the client did wrong (http-errors). */
function clientFault(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('status' in error) || typeof error.status !== 'number') return undefined;
  return error.status >= 400 && error.status < 500 ? error.status : undefined;
}

function describe(status: number): string {
  if (status === 413) return 'The request body is larger than this endpoint accepts.';
  if (status === 415) return 'The request body is in an encoding that this endpoint does not read.';
  return 'The request body could not be read.';
}
