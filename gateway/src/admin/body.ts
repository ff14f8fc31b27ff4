import express, { type Request, type RequestHandler } from 'express';
import { ApiError } from '../http/errors.ts';

const LIMIT_BYTES = 1024 * 1024;

/** Reads a body of at most 1 MiB, whatever it says it is. */
export const readBody: RequestHandler = express.raw({ type: () => true, limit: LIMIT_BYTES });

/** The body that {@link readBody} read. @throws ApiError 400 when it is no JSON. */
export function jsonOf(request: Request): unknown {
  const body: unknown = request.body;
  try {
    if (Buffer.isBuffer(body)) return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
  } catch {
    // Said below.
  }
  throw new ApiError('invalid_request_error', 'The body must be JSON in UTF-8.');
}

/** As {@link jsonOf}, for calls that need no body: without one it is undefined. */
export function optionalJsonOf(request: Request): unknown {
  const body: unknown = request.body;
  return Buffer.isBuffer(body) && body.length > 0 ? jsonOf(request) : undefined;
}
