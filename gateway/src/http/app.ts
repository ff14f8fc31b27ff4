import express, { type ErrorRequestHandler, type Express, type RequestHandler, type Router } from 'express';
import { admitRequest } from './admit-request.ts';
import { ApiError, OAuthError, sendApiError, sendOAuthError } from './errors.ts';
import { contextOf } from './context.ts';
import { BROWSER_HEADERS } from './page.ts';
import { loggedPath } from './request-target.ts';

/**
 * The slow surface as one Express application: everything but inference and telemetry (see docs/adr/0001).
 *
 * @param routers Tried in order; what none of them answers is a 404 in the Anthropic envelope.
 */
export function createApp(routers: readonly Router[]): Express {
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.set('trust proxy', false);
  app.set('query parser', 'simple');
  app.use(securityHeaders);
  app.use(admitRequest);
  for (const router of routers) app.use(router);
  app.use(notFound);
  app.use(answerError);
  return app;
}

const securityHeaders: RequestHandler = (_request, response, next) => {
  response.set(BROWSER_HEADERS);
  next();
};

const notFound: RequestHandler = (request, response) => {
  const what = `${request.method} ${loggedPath(request.originalUrl)}`;
  sendApiError(
    response,
    new ApiError('not_found_error', `This gateway has nothing at ${what}.`),
    contextOf(request).id,
  );
};

const answerError: ErrorRequestHandler = (error: unknown, request, response, _next) => {
  const { id, log } = contextOf(request);
  if (error instanceof ApiError) sendApiError(response, error, id);
  else if (error instanceof OAuthError) sendOAuthError(response, error);
  else if (isClientFault(error)) {
    sendApiError(
      response,
      new ApiError('invalid_request_error', error.message, { status: error.status }),
      id,
    );
  } else {
    log.error({ err: error, request_id: id, path: loggedPath(request.originalUrl) }, 'request failed');
    sendApiError(
      response,
      new ApiError('api_error', `The gateway failed to handle this request (${id}).`),
      id,
    );
  }
};

/** Express and its body parsers mark what the client did wrong with a 4xx status (http-errors). */
function isClientFault(error: unknown): error is Error & { status: number } {
  return (
    error instanceof Error &&
    'status' in error &&
    typeof error.status === 'number' &&
    error.status >= 400 &&
    error.status < 500
  );
}
