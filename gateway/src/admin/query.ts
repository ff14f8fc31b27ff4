import type { Request } from 'express';
import { invalid } from './input.ts';

const DEFAULT_LIMIT = 20;
const MAX_LIMIT = 1000;

/** The first value of a query parameter. */
export function single(request: Request, name: string): string | undefined {
  return repeated(request, name)[0];
}

/** All values of a query parameter: `name=a&name=b`. */
export function repeated(request: Request, name: string): readonly string[] {
  const value = (request.query as Record<string, string | string[] | undefined>)[name];
  return value === undefined ? [] : Array.isArray(value) ? value : [value];
}

/** `limit`: 1 to 1000, by default 20. */
export function limitOf(request: Request): number {
  const value = single(request, 'limit');
  if (value === undefined) return DEFAULT_LIMIT;
  const limit = value.trim() === '' ? NaN : Number(value);
  if (!Number.isInteger(limit) || limit < 1 || limit > MAX_LIMIT) {
    throw invalid('limit', `must be a whole number between 1 and ${MAX_LIMIT}`);
  }
  return limit;
}

/** Opaque to clients: what the next page needs to know. */
export function pageToken(state: Readonly<Record<string, string>>): string {
  return Buffer.from(JSON.stringify(state)).toString('base64url');
}

/** @throws ApiError 400 unless the token is one of ours with exactly these fields. */
export function readPageToken<Field extends string>(
  token: string,
  fields: readonly Field[],
): Record<Field, string> {
  try {
    const state: unknown = JSON.parse(Buffer.from(token, 'base64url').toString());
    if (
      typeof state === 'object' &&
      state !== null &&
      Object.keys(state).toSorted().join() === fields.toSorted().join() &&
      Object.values(state).every((value) => typeof value === 'string' && !value.includes('\0'))
    ) {
      return state as Record<Field, string>;
    }
  } catch {
    // Said below.
  }
  throw invalid('page', 'must be the next_page of an answer to the same question');
}
