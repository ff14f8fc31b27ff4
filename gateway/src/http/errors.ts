import type { OutgoingHttpHeaders, ServerResponse } from 'node:http';

/**
 * The error types of the Anthropic envelope, with the status that each one travels under.
 * Source: https://docs.claude.com/en/api/errors
 */
export const API_ERROR_STATUS = {
  invalid_request_error: 400,
  authentication_error: 401,
  billing_error: 429,
  permission_error: 403,
  not_found_error: 404,
  request_too_large: 413,
  rate_limit_error: 429,
  api_error: 500,
  not_supported: 501,
  overloaded_error: 529,
} as const;

export type ApiErrorType = keyof typeof API_ERROR_STATUS;

/** A failure that a caller of a bearer-authenticated endpoint is told about, in the Anthropic envelope. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly type: ApiErrorType;
  readonly status: number;
  readonly headers: OutgoingHttpHeaders;

  /**
   * @param message One sentence for the developer at the terminal. Never put a secret or upstream detail in it.
   * @param options.status Overrides the usual status of the type (for example 502 for an `api_error`).
   */
  constructor(
    type: ApiErrorType,
    message: string,
    options: { status?: number; headers?: OutgoingHttpHeaders; cause?: unknown } = {},
  ) {
    super(message, { cause: options.cause });
    this.type = type;
    this.status = options.status ?? API_ERROR_STATUS[type];
    this.headers = options.headers ?? {};
  }

  /** The response body: the envelope that Anthropic's SDKs parse. */
  toBody(requestId: string): string {
    return JSON.stringify({
      type: 'error',
      error: { type: this.type, message: this.message },
      request_id: requestId,
    });
  }
}

/** A missing, expired, forged or revoked bearer token: the client asks its user to sign in again at once. */
export function unauthenticated(
  message = 'You are not signed in to the gateway, or your session has ended. Run /login to sign in.',
): ApiError {
  return new ApiError('authentication_error', message, {
    headers: { 'x-should-retry': 'false', 'www-authenticate': 'Bearer' },
  });
}

/** Error codes of the OAuth endpoints (RFC 6749 §5.2, RFC 8628 §3.5, RFC 8693 §2.2.2), with their status. */
export const OAUTH_ERROR_STATUS = {
  invalid_request: 400,
  invalid_client: 401,
  invalid_grant: 400,
  invalid_target: 400,
  unauthorized_client: 400,
  unsupported_grant_type: 400,
  unsupported_token_type: 400,
  authorization_pending: 400,
  slow_down: 400,
  access_denied: 400,
  expired_token: 400,
  temporarily_unavailable: 503,
  server_error: 500,
} as const;

export type OAuthErrorCode = keyof typeof OAUTH_ERROR_STATUS;

/** A failure of an OAuth endpoint: `{"error": …, "error_description": …}`. */
export class OAuthError extends Error {
  override readonly name = 'OAuthError';
  readonly code: OAuthErrorCode;
  readonly status: number;
  readonly headers: OutgoingHttpHeaders;

  constructor(
    code: OAuthErrorCode,
    description: string,
    options: { status?: number; headers?: OutgoingHttpHeaders; cause?: unknown } = {},
  ) {
    super(description, { cause: options.cause });
    this.code = code;
    this.status = options.status ?? OAUTH_ERROR_STATUS[code];
    this.headers = options.headers ?? {};
  }

  toBody(): string {
    return JSON.stringify({ error: this.code, error_description: this.message });
  }
}

/** Answers with the Anthropic envelope, unless the answer has begun; then the connection is cut so that the client knows. */
export function sendApiError(response: ServerResponse, error: ApiError, requestId: string): void {
  send(response, error, error.toBody(requestId));
}

/** Answers as OAuth endpoints do: never cached (RFC 6749 §5.2). */
export function sendOAuthError(response: ServerResponse, error: OAuthError): void {
  response.setHeader('cache-control', 'no-store');
  send(response, error, error.toBody());
}

function send(response: ServerResponse, error: ApiError | OAuthError, body: string): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  response.writeHead(error.status, {
    ...error.headers,
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
  });
  response.end(body);
}
