import { StoreBusyError, StoreUnavailableError } from '@claude-gateway/prisma';
import express, { type ErrorRequestHandler, type RequestHandler, type Router } from 'express';
import type { Log } from '../../observe/log.ts';
import { contextOf } from '../../http/context.ts';
import { OAuthError, sendOAuthError } from '../../http/errors.ts';
import { limited } from '../limits/sign-in-limits.ts';
import { storeAwayPage, tooManyRequestsPage, unexpectedPage } from '../pages/problems.ts';
import { answerPage, audit } from './answers.ts';
import { authorizeDevice } from './authorization.ts';
import type { DeviceDependencies } from './dependencies.ts';
import { readForm } from './form.ts';
import { finishSignIn } from './sign-in.ts';
import { showSignedIn, SIGNED_IN_PATH } from './signed-in.ts';
import { createVerification } from './verification.ts';

/** How long people and clients are asked to wait for the store, in seconds. */
const STORE_RETRY_SECONDS = 5;

/**
 * The device authorization grant (RFC 8628) up to the point where the device's next poll succeeds: the endpoint that
 * hands out codes, the pages on which a person approves one, and the identity provider's callback. The token endpoint,
 * which the device polls, is not here.
 *
 * Keeps nothing in memory between requests: each of them may reach another replica. Needs the request context of the
 * listener, and Express's `simple` or `extended` query parser.
 */
export function createDeviceRouter(deps: DeviceDependencies): Router {
  const verification = createVerification(deps);
  const router = express.Router();
  router.post('/oauth/device_authorization', readForm(), authorizeDevice(deps), answerClientError);
  router.head(['/device', SIGNED_IN_PATH, '/oauth/callback'], answerHead);
  const page = limited(deps.limits, 'sign_in_pages', (wait, request, response) => {
    audit(deps, request, 'rate_limited');
    answerPage(deps, request, response, tooManyRequestsPage(wait), {
      headers: { 'retry-after': String(wait) },
    });
  });
  router.get('/device', page, verification.show);
  router.get(SIGNED_IN_PATH, page, showSignedIn(deps));
  router.post('/device', page, readForm(), verification.submit);
  router.post('/device/deny', page, readForm(), verification.deny);
  router.get('/oauth/callback', page, finishSignIn(deps));
  router.use(answerPageError(deps));
  return router;
}

/** Whoever only looks, such as a scanner of links, uses up neither attempts nor a sign-in under way. */
const answerHead: RequestHandler = (_request, response) => {
  response.set('cache-control', 'no-store').type('html').end();
};

/** Errors of the endpoint that programs call. */
const answerClientError: ErrorRequestHandler = (error: unknown, request, response, next) => {
  const { id, log } = contextOf(request);
  if (response.headersSent) return next(error);
  if (error instanceof OAuthError) return sendOAuthError(response, error);
  if (error instanceof StoreUnavailableError) {
    logStoreFailure(error, id, log);
    const headers = { 'retry-after': String(STORE_RETRY_SECONDS) };
    const description =
      error instanceof StoreBusyError
        ? 'The gateway is busy; try again in a moment.'
        : 'The gateway cannot reach its database; try again in a moment.';
    return sendOAuthError(response, new OAuthError('temporarily_unavailable', description, { headers }));
  }
  const status = clientFault(error);
  if (status !== undefined) {
    const description = 'The request body cannot be read as a form of at most 16 KiB.';
    return sendOAuthError(response, new OAuthError('invalid_request', description, { status }));
  }
  log.error({ request_id: id, err: error }, 'device authorization failed');
  sendOAuthError(response, new OAuthError('server_error', `The gateway failed to answer (${id}).`));
};

/** Errors of everything that a person's browser asks for. */
function answerPageError(deps: DeviceDependencies): ErrorRequestHandler {
  return (error: unknown, request, response, next) => {
    const { id, log } = contextOf(request);
    if (response.headersSent) return next(error);
    if (error instanceof StoreUnavailableError) {
      logStoreFailure(error, id, log);
      const headers = { 'retry-after': String(STORE_RETRY_SECONDS) };
      return answerPage(deps, request, response, storeAwayPage(), { headers });
    }
    const status = clientFault(error);
    if (status === undefined) log.error({ request_id: id, err: error }, 'page failed');
    answerPage(deps, request, response, unexpectedPage(status ?? 500));
  };
}

/** Whom the store refused because it is busy it counts and logs itself: a line for each of a flood would be one. */
function logStoreFailure(error: StoreUnavailableError, id: string, log: Log): void {
  if (!(error instanceof StoreBusyError))
    log.error({ request_id: id, err: error }, 'the store did not answer');
}

/** Body parsers mark what the sender did wrong with a 4xx status (http-errors). */
function clientFault(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('status' in error) || typeof error.status !== 'number') return undefined;
  return error.status >= 400 && error.status < 500 ? error.status : undefined;
}
