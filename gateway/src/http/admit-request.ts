import type { Request, RequestHandler, Response } from 'express';
import { contextOf } from './context.ts';
import { ApiError, OAuthError, sendApiError, sendOAuthError } from './errors.ts';
import { isProbe, loggedPath, pathOf } from './request-target.ts';

/** No route reads a longer body. */
const MAX_BODY_BYTES = 1024 * 1024;
/** Of the sign-in and the token endpoint, where nobody has said yet who they are. */
const MAX_FORM_BYTES = 64 * 1024;

/**
 * Makes room for a request of somebody who is not known yet, before anything is read or asked of the database. A body
 * that is too long is refused at once: parsers of bodies wait for its end before they say so.
 */
export const admitRequest: RequestHandler = (request, response, next) => {
  const { traffic } = contextOf(request);
  const path = pathOf(request.originalUrl);
  const most = isOAuth(path) || path.toLowerCase().startsWith('/device') ? MAX_FORM_BYTES : MAX_BODY_BYTES;
  try {
    if (!isProbe(path)) traffic?.admitAnonymous();
    const declared = Number(request.headers['content-length'] ?? 0);
    if (declared > most) throw tooLong(request, most);
    const isChunked = request.headers['transfer-encoding'] !== undefined;
    if (isChunked || declared > 0) traffic?.reserveBody(isChunked ? most : declared);
    if (isChunked) watchLength(request, response, most);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    refuse(request, response, error);
    return;
  }
  next();
};

/** Routes are found in capital letters as well. */
const isOAuth = (path: string): boolean => path.slice(0, '/oauth/'.length).toLowerCase() === '/oauth/';

/** Counts a body that does not say its length, once somebody reads it. */
function watchLength(request: Request, response: Response, most: number): void {
  let received = 0;
  request.once('resume', () => {
    request.on('data', (chunk: Buffer) => {
      received += chunk.length;
      if (received > most && !response.headersSent) refuse(request, response, tooLong(request, most));
    });
  });
}

function tooLong(request: Request, most: number): ApiError {
  return new ApiError(
    'request_too_large',
    `The body is larger than the ${most / 1024} KiB that ${loggedPath(request.originalUrl)} takes.`,
  );
}

function refuse(request: Request, response: Response, error: ApiError): void {
  if (!isOAuth(request.originalUrl)) {
    sendApiError(response, error, contextOf(request).id);
    return;
  }
  const { message, status, headers } = error;
  const code = status === 413 ? 'invalid_request' : 'temporarily_unavailable';
  sendOAuthError(response, new OAuthError(code, message, { status, headers }));
}
