import express, { type RequestHandler } from 'express';
import { OAuthError } from '../../http/errors.ts';

/** Bytes. The largest parameter is a workload's token; those stay below 16 KiB. */
const MAX_FORM_BYTES = 64 * 1024;

/** What a token exchange may name several times (RFC 8693 §2.1); nothing here reads them. */
const REPEATABLE = new Set(['audience', 'resource']);

/** The parameters of an OAuth request, each given at most once. */
export class OAuthForm {
  readonly #values: ReadonlyMap<string, string>;

  /** @throws OAuthError `invalid_request` when a parameter comes twice (RFC 6749 §3.2). */
  constructor(body: string) {
    const values = new Map<string, string>();
    for (const [name, value] of new URLSearchParams(body)) {
      if (values.has(name) && !REPEATABLE.has(name)) {
        throw new OAuthError('invalid_request', 'A parameter was sent more than once.');
      }
      values.set(name, value);
    }
    this.#values = values;
  }

  /** A parameter without a value counts as omitted (RFC 6749 §3.2). */
  get(name: string): string | undefined {
    return this.#values.get(name) || undefined;
  }

  /** @throws OAuthError `invalid_request` naming the parameter. */
  require(name: string): string {
    const value = this.get(name);
    if (value === undefined) throw new OAuthError('invalid_request', `The parameter ${name} is missing.`);
    return value;
  }
}

/** Reads the body of an OAuth request into `request.body`, as bytes; what is too large fails with 413. */
export function readOAuthBody(): RequestHandler {
  return express.raw({ type: () => true, limit: MAX_FORM_BYTES });
}

/**
 * @param body What {@link readOAuthBody} left.
 * @throws OAuthError `invalid_request`
 */
export function oauthFormOf(contentType: string | undefined, body: unknown): OAuthForm {
  if (!Buffer.isBuffer(body) || body.length === 0) return new OAuthForm('');
  if (contentType !== undefined && !/^application\/x-www-form-urlencoded\s*(?:;|$)/i.test(contentType)) {
    throw new OAuthError('invalid_request', 'The body must be application/x-www-form-urlencoded.');
  }
  return new OAuthForm(body.toString('utf8'));
}
