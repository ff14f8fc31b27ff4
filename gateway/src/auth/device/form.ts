import express, { type RequestHandler } from 'express';

/** Bytes. The largest form here is a sealed ticket and two short fields. */
const MAX_FORM_BYTES = 16 * 1024;

/**
 * Reads a form of any declared type: unknown and missing content types are no reason to refuse a client, and reading
 * all of them keeps the size limit whole. Failures are http-errors with a 4xx status.
 */
export function readForm(): RequestHandler {
  return express.urlencoded({ extended: false, limit: MAX_FORM_BYTES, type: () => true });
}

/** One field of a parsed form or query. A field that came twice counts as absent (RFC 6749 §3.1). */
export function field(form: unknown, name: string): string | undefined {
  if (typeof form !== 'object' || form === null || !Object.hasOwn(form, name)) return undefined;
  const value = (form as Record<string, unknown>)[name];
  return typeof value === 'string' ? value : undefined;
}
