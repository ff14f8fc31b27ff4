import express, {
  type ErrorRequestHandler,
  type Express,
  type Request,
  type RequestHandler,
  type Router,
} from 'express';
import { admitRequest } from './admit-request.ts';
import { ApiError, OAuthError, sendApiError, sendOAuthError } from './errors.ts';
import { contextOf } from './context.ts';
import { BROWSER_HEADERS, html, sendPage } from './page.ts';
import { loggedPath } from './request-target.ts';

export interface AppOptions {
  /** Whether people reach the gateway over https. */
  readonly secure: boolean;
}

/**
 * The slow surface as one Express application: everything but inference and telemetry (see docs/adr/0001).
 *
 * @param routers Tried in order; what none of them answers is a 404: in the Anthropic envelope, or as a page for a browser.
 */
export function createApp(routers: readonly Router[], options: AppOptions = { secure: false }): Express {
  const app = express();
  app.disable('x-powered-by');
  app.disable('etag');
  app.set('trust proxy', false);
  app.set('query parser', 'simple');
  app.use(securityHeaders);
  app.use(admitRequest);
  for (const router of routers) app.use(router);
  app.use(notFound(options));
  app.use(answerError);
  return app;
}

const securityHeaders: RequestHandler = (_request, response, next) => {
  response.set(BROWSER_HEADERS);
  next();
};

/** Browsers ask for HTML by name when a person opens an address; programs do not. */
function isPersonLooking(request: Request): boolean {
  const { accept = '' } = request.headers;
  return (request.method === 'GET' || request.method === 'HEAD') && accept.includes('text/html');
}

const notFound =
  (options: AppOptions): RequestHandler =>
  (request, response) => {
    const what = `${request.method} ${loggedPath(request.originalUrl)}`;
    if (isPersonLooking(request)) {
      sendPage(response, {
        status: 404,
        title: 'Page not found',
        body: html`<h1>There is no page here</h1>
          <p>This is a gateway for Claude Code. Check the address, or enter the code from your terminal.</p>
          <p><a class="button" href="/device">Enter a code</a></p>`,
        reference: contextOf(request).id,
        secure: options.secure,
      });
      return;
    }
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
