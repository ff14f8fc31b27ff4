import type { z } from 'zod';
import { closestName } from './closest-name.ts';
import { allowedKeys } from './allowed-keys.ts';
import type { Path } from './problem.ts';

type RawIssue = z.core.$ZodRawIssue;
type ZodIssue = z.core.$ZodIssue;

/** One thing that is wrong, at the deepest place that can be named. */
export interface Issue {
  readonly path: Path;
  readonly message: string;
  readonly suggestion?: string;
  /** The file says nothing at this path. */
  readonly missing?: boolean;
  /** The key is wrong, and not its value. */
  readonly isKey?: boolean;
  /** What the schema wants instead of a string: a reference may be read as one. */
  readonly scalar?: 'number' | 'boolean';
}

const KINDS: Readonly<Record<string, string>> = {
  string: 'a string',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  object: 'a map of keys',
  record: 'a map of keys',
  nan: 'a number',
};

const listed = (values: readonly unknown[]): string => {
  const names = values.map(String);
  return names.length < 2 ? names.join('') : `${names.slice(0, -1).join(', ')} or ${names.at(-1)}`;
};

const many = (count: number | bigint, one: string, more = `${one}s`) =>
  `${count} ${count === 1 ? one : more}`;
const entries = (count: number | bigint) => many(count, 'entry', 'entries');

/** Messages for issues whose schema has none of its own. */
export function messageOf(issue: RawIssue): string {
  switch (issue.code) {
    case 'invalid_type':
      return `must be ${KINDS[issue.expected] ?? issue.expected}`;
    case 'invalid_value':
      return `must be ${listed(issue.values)}`;
    case 'too_small': {
      const { minimum, inclusive, origin } = issue;
      if (origin === 'string') return `must have at least ${many(minimum, 'character')}`;
      if (origin === 'array') return `needs at least ${entries(minimum)}`;
      return inclusive === false ? `must be above ${minimum}` : `must be at least ${minimum}`;
    }
    case 'too_big': {
      const { maximum, inclusive, origin } = issue;
      if (origin === 'string') return `must have at most ${many(maximum, 'character')}`;
      if (origin === 'array') return `must have at most ${entries(maximum)}`;
      return inclusive === false ? `must be below ${maximum}` : `must be at most ${maximum}`;
    }
    case 'unrecognized_keys':
      return 'is not a known key';
    case 'invalid_union':
      return 'has none of the forms that are allowed here';
    case 'invalid_format':
    case 'invalid_key':
    case 'invalid_element':
    case 'not_multiple_of':
    case 'custom':
      return 'is not valid';
  }
}

const isMap = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

export function valueAt(document: unknown, path: Path): unknown {
  let value = document;
  for (const part of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) return undefined;
    value = (value as Record<string | number, unknown>)[part];
  }
  return value;
}

/** Turns what zod says about `document` into one issue for each mistake. */
export function readIssues(issues: readonly ZodIssue[], document: unknown, base: Path = []): Issue[] {
  return issues.flatMap((issue) => readIssue(issue, document, [...base, ...(issue.path as Path)]));
}

function readIssue(issue: ZodIssue, document: unknown, path: Path): Issue[] {
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => unknownKey(key, issue.message, document, path));
  }
  if (issue.code === 'invalid_union') return readUnion(issue, document, path);
  if (issue.code === 'invalid_key' || issue.code === 'invalid_element') {
    return [{ path, message: issue.issues[0]?.message ?? issue.message }];
  }
  if (issue.code !== 'invalid_value') return [describe(issue, document, path)];
  const choices = issue.values.filter((value) => typeof value === 'string');
  return [describe(issue, document, path, { choices, scalar: issue.values.includes(true) })];
}

const SCALARS: Readonly<Record<string, 'number' | 'boolean'>> = {
  number: 'number',
  int: 'number',
  boolean: 'boolean',
};

function describe(
  issue: ZodIssue,
  document: unknown,
  path: Path,
  about: { choices?: readonly string[]; scalar?: boolean } = {},
): Issue {
  const value = valueAt(document, path);
  if (value === undefined && issue.code !== 'custom') {
    return { path, message: `is required: ${issue.message}`, missing: true };
  }
  const expected = issue.code === 'invalid_type' ? SCALARS[issue.expected] : undefined;
  const scalar = about.scalar === true ? 'boolean' : expected;
  const choices = about.choices ?? [];
  const suggestion = typeof value === 'string' ? closestName(value, choices) : undefined;
  return {
    path,
    message: issue.message,
    ...(scalar === undefined ? {} : { scalar }),
    ...(suggestion === undefined ? {} : { suggestion }),
    ...(value === undefined ? { missing: true } : {}),
  };
}

function unknownKey(key: string, message: string, document: unknown, path: Path): Issue {
  const present = valueAt(document, path);
  const taken = new Set(isMap(present) ? Object.keys(present) : []);
  const allowed = allowedKeys(document, path);
  if (allowed.includes(key)) {
    return { path: [...path, key], message: 'cannot be combined with the other keys here', isKey: true };
  }
  const free = allowed.filter((name) => !taken.has(name));
  const suggestion = closestName(key, free) ?? closestName(key, allowed);
  return { path: [...path, key], message, isKey: true, ...(suggestion === undefined ? {} : { suggestion }) };
}

type UnionIssue = Extract<ZodIssue, { code: 'invalid_union' }>;

/**
 * What to say about a value that fits no form of a union: the issues of the form that was evidently meant, or the
 * union's own message when there is none, or more than one.
 */
function readUnion(issue: UnionIssue, document: unknown, path: Path): Issue[] {
  const value = valueAt(document, path);
  if (issue.errors.length === 0) return [discriminator(issue, document, path)];
  const meant = value === undefined ? undefined : meantForm(issue.errors, value);
  if (meant !== undefined) return readIssues(meant, document, path);
  const own = describe(issue, document, path);
  if (!isMap(value)) return [own];
  const keys = Object.keys(value);
  const suggestion =
    keys.length === 1 ? closestName(keys[0] as string, allowedKeys(document, path)) : undefined;
  return [{ ...own, ...(suggestion === undefined || suggestion === keys[0] ? {} : { suggestion }) }];
}

function discriminator(issue: UnionIssue, document: unknown, path: Path): Issue {
  const choices = 'options' in issue && Array.isArray(issue.options) ? issue.options.map(String) : [];
  const value = valueAt(document, path);
  const suggestion = typeof value === 'string' ? closestName(value, choices) : undefined;
  return {
    path,
    message: `${value === undefined ? 'is required: ' : ''}must be ${listed(choices)}`,
    ...(value === undefined ? { missing: true } : {}),
    ...(suggestion === undefined ? {} : { suggestion }),
  };
}

function meantForm(forms: readonly (readonly ZodIssue[])[], value: unknown): readonly ZodIssue[] | undefined {
  const possible = forms.filter(
    (issues) => !issues.some(({ code, path }) => path.length === 0 && code === 'invalid_type'),
  );
  if (possible.length === 1) return possible[0];
  if (!isMap(value)) return undefined;
  const count = Object.keys(value).length;
  const scored = possible.map((issues) => ({ issues, known: count - unknownKeys(issues) }));
  const most = Math.max(0, ...scored.map(({ known }) => known));
  const best = scored.filter(({ known }) => known === most);
  return most > 0 && best.length === 1 ? best[0]?.issues : undefined;
}

function unknownKeys(issues: readonly ZodIssue[]): number {
  return issues.reduce(
    (sum, issue) =>
      sum + (issue.code === 'unrecognized_keys' && issue.path.length === 0 ? issue.keys.length : 0),
    0,
  );
}
