import type { Path } from './problem.ts';

export interface ExpansionSource {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Reads a whole file as UTF-8. @throws Error when that is not possible. */
  readonly readFile: (path: string) => string;
}

/** How much of a string scalar came from a reference. */
export type Origin = 'whole' | 'part';

export interface Expansion {
  readonly value: unknown;
  /** Paths of the scalars that held a reference. */
  readonly origins: ReadonlyMap<string, Origin>;
  readonly problems: readonly { readonly path: Path; readonly message: string }[];
  /** What the references resolved to; it may be secret. */
  readonly values: ReadonlySet<string>;
  /** Scalars that hold `${` still: it looks like a reference and is none. */
  readonly leftovers: readonly Path[];
}

/** The key of a path in {@link Expansion.origins}. */
export const pathKey = (path: Path): string => JSON.stringify(path);

const REFERENCE = /\$\{(?:file:([^}]+)|([A-Za-z0-9_]+))\}/g;
const WHOLE_REFERENCE = /^\$\{(?:file:[^}]+|[A-Za-z0-9_]+)\}$/;

/** The references in a text, as they are written; for who writes a document and means none. */
export function referencesIn(text: string): readonly string[] {
  return text.match(REFERENCE) ?? [];
}

/**
 * Replaces `${VAR}` and `${file:/path}` in every string of a document that YAML has already parsed, so that no value
 * can change the document's structure. Values are not expanded again, and keys not at all. There is no escape:
 * whatever else begins with `${` stays as it is.
 */
export function expandReferences(document: unknown, source: ExpansionSource): Expansion {
  const origins = new Map<string, Origin>();
  const problems: { path: Path; message: string }[] = [];
  const leftovers: Path[] = [];
  const values = new Set<string>();

  const resolve = (file: string | undefined, variable: string, path: Path): string => {
    const found = file === undefined ? fromEnvironment(variable, source) : fromFile(file, source);
    if ('value' in found) {
      values.add(found.value);
      return found.value;
    }
    problems.push({ path, message: found.problem });
    return '';
  };

  const expand = (text: string, path: Path): string => {
    if (!text.includes('${')) return text;
    const literal = text.replace(REFERENCE, '');
    if (literal.includes('${')) leftovers.push(path);
    if (literal === text) return text;
    origins.set(pathKey(path), WHOLE_REFERENCE.test(text) ? 'whole' : 'part');
    return text.replace(REFERENCE, (_, file: string | undefined, variable: string) =>
      resolve(file, variable, path),
    );
  };

  const walk = (value: unknown, path: Path): unknown => {
    if (typeof value === 'string') return expand(value, path);
    if (Array.isArray(value)) return value.map((item, index) => walk(item, [...path, index]));
    if (typeof value !== 'object' || value === null) return value;
    const copy: Record<string, unknown> = {};
    for (const [key, item] of Object.entries(value)) {
      // Assignment would call the setter of `__proto__`.
      Object.defineProperty(copy, key, {
        value: walk(item, [...path, key]),
        enumerable: true,
        writable: true,
        configurable: true,
      });
    }
    return copy;
  };

  return { value: walk(document, []), origins, problems, values, leftovers };
}

type Resolution = { readonly value: string } | { readonly problem: string };

function fromEnvironment(name: string, { env }: ExpansionSource): Resolution {
  const value = Object.hasOwn(env, name) ? env[name] : undefined;
  return value === undefined ? { problem: `the environment variable ${name} is not set` } : { value };
}

function fromFile(path: string, { readFile }: ExpansionSource): Resolution {
  if (!path.startsWith('/')) return { problem: `the path in \${file:${path}} must be absolute` };
  let content: string;
  try {
    content = readFile(path).trim();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return { problem: `cannot read the file ${path} (${code ?? 'unknown error'})` };
  }
  return content === '' ? { problem: `the file ${path} is empty` } : { value: content };
}
