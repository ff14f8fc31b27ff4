import type { Request } from 'express';
import type { ApiError } from '../http/errors.ts';
import { invalid, storable } from './input.ts';

const DEFAULT_LIMIT = 20;
const MAX_LIMIT = 1000;

/** The first value of a query parameter. */
export function single(request: Request, name: string): string | undefined {
  return repeated(request, name)[0];
}

/** All values of a query parameter: `name=a&name=b`. @throws ApiError 400 when one of them can be no text of ours. */
export function repeated(request: Request, name: string): readonly string[] {
  const value = (request.query as Record<string, string | string[] | undefined>)[name];
  const values = value === undefined ? [] : Array.isArray(value) ? value : [value];
  return values.map((one) => storable(one, name));
}

/** `limit`: 1 to 1000, by default 20. */
export function limitOf(request: Request): number {
  const value = single(request, 'limit');
  if (value === undefined) return DEFAULT_LIMIT;
  // `1e1` and `01` are numbers to the reference as well.
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

/** The longest token of ours: a name of a person, in JSON, in base64. */
const MAX_TOKEN = 16_384;

/**
 * Reads a token of {@link pageToken}.
 *
 * @param patterns What each of its fields has to be like.
 * @throws ApiError 400 unless the token is one of ours, to the letter, with exactly these fields.
 */
export function readPageToken<Field extends string>(
  token: string,
  patterns: Readonly<Record<Field, RegExp>>,
): Record<Field, string> {
  const state = token.length > MAX_TOKEN ? undefined : stateOf(token);
  const fields = Object.entries<RegExp>(patterns);
  const isOurs =
    state !== undefined &&
    Object.keys(state).length === fields.length &&
    fields.every(([field, pattern]) => {
      const value = Object.hasOwn(state, field) ? state[field] : undefined;
      return typeof value === 'string' && pattern.test(value) && isStorable(value);
    });
  if (!isOurs || pageToken(state as Record<Field, string>) !== token) throw badPage();
  return state as Record<Field, string>;
}

export function badPage(): ApiError {
  return invalid('page', 'must be the next_page of an answer to the same question');
}

function stateOf(token: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const state: unknown = JSON.parse(Buffer.from(token, 'base64url').toString());
    return typeof state === 'object' && state !== null && !Array.isArray(state)
      ? (state as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}

const isStorable = (value: string): boolean => !value.includes('\0') && value.isWellFormed();
