import express, {
  type ErrorRequestHandler,
  type Express,
  type Request,
  type RequestHandler,
  type Router,
} from 'express';
import { ApiError, OAuthError, sendApiError, sendOAuthError } from './errors.ts';
import { contextOf } from './context.ts';
import { BROWSER_HEADERS } from './page.ts';
import { isProbe, loggedPath, pathOf } from './request-target.ts';

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
  app.use(admit);
  for (const router of routers) app.use(router);
  app.use(notFound);
  app.use(answerError);
  return app;
}

const securityHeaders: RequestHandler = (_request, response, next) => {
  response.set(BROWSER_HEADERS);
  next();
};

/** No route reads a longer body. */
const MAX_BODY_BYTES = 1024 * 1024;

/** Makes room for a request of somebody who is not known yet, before anything is read or asked of the database. */
const admit: RequestHandler = (request, response, next) => {
  const { traffic, id } = contextOf(request);
  const path = pathOf(request.originalUrl);
  try {
    if (!isProbe(path)) traffic?.admitAnonymous();
    const bytes = bodyBytes(request);
    if (bytes > 0) traffic?.reserveBody(bytes);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (path.startsWith('/oauth/')) {
      const { message, status, headers } = error;
      sendOAuthError(response, new OAuthError('temporarily_unavailable', message, { status, headers }));
    } else sendApiError(response, error, id);
    return;
  }
  next();
};

/** The most that a body parser keeps of this body. */
function bodyBytes({ headers }: Request): number {
  if (headers['transfer-encoding'] !== undefined) return MAX_BODY_BYTES;
  return Math.min(Number(headers['content-length'] ?? 0), MAX_BODY_BYTES);
}

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
