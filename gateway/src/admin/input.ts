import { ApiError } from '../http/errors.ts';

/** A call that cannot be understood: 400, naming the field and the remedy. */
export function invalid(field: string, remedy: string): ApiError {
  return new ApiError('invalid_request_error', `${field}: ${remedy}`);
}

export type Fields = Readonly<Record<string, unknown>>;

/** @throws ApiError 400 unless the value is a JSON object. */
export function objectOf(value: unknown, field?: string): Fields {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Fields;
  const problem = `must be an object, not ${kindOf(value)}`;
  throw field === undefined
    ? new ApiError('invalid_request_error', `The body ${problem}.`)
    : invalid(field, problem);
}

/** Longest name of a person or group: what fits into an index. */
const MAX_NAME = 1024;

/** A name that is stored: not empty, not endless, and nothing that PostgreSQL cannot keep. */
export function nameOf(value: unknown, field: string): string {
  if (value === undefined) throw invalid(field, 'is required');
  if (typeof value !== 'string') throw invalid(field, `must be a string, not ${kindOf(value)}`);
  if (value === '') throw invalid(field, 'must not be empty');
  if (value.length > MAX_NAME) throw invalid(field, `must have at most ${MAX_NAME} characters`);
  return storable(value, field);
}

/** Text for people, or nothing. */
export function textOf(value: unknown, field: string, longest: number): string | null {
  if (value === undefined || value === null) return null;
  if (typeof value !== 'string') throw invalid(field, `must be a string or null, not ${kindOf(value)}`);
  if (value.length > longest) throw invalid(field, `must have at most ${longest} characters`);
  return storable(value, field);
}

/** One of the words, or undefined when the field is not there. */
export function choiceOf<Word extends string>(
  value: unknown,
  field: string,
  words: readonly Word[],
): Word | undefined {
  if (value === undefined) return undefined;
  const word = words.find((candidate) => candidate === value);
  if (word === undefined) throw invalid(field, `must be one of ${words.join(', ')}`);
  return word;
}

export function kindOf(value: unknown): string {
  if (value === null) return 'null';
  return Array.isArray(value) ? 'array' : typeof value;
}

/** Text that PostgreSQL can keep and send back: without NUL, and without half of a surrogate pair. */
export function storable(value: string, field: string): string {
  if (value.includes('\0')) throw invalid(field, 'must not contain a NUL character');
  if (!value.isWellFormed()) {
    throw invalid(field, 'must be well-formed Unicode, and has one half of a surrogate pair');
  }
  return value;
}
