import { createHash } from 'node:crypto';
import { formatPath, referencesIn } from '@claude-gateway/contract';
import { Field } from './field.ts';

/** What a ConfigMap of the gateway holds is mounted here. */
const DIRECTORY = '/etc/claude-gateway';

/** One value of a Secret or ConfigMap, as a mounted file. */
export class FileOf {
  readonly kind: 'Secret' | 'ConfigMap';
  readonly name: string;
  readonly key: string;
  /** That refers to it. */
  readonly field: string;
  /** Whether gateway.yaml has the content (by reference) or the path. */
  readonly use: 'content' | 'path';

  constructor(kind: FileOf['kind'], name: string, key: string, field: string, use: FileOf['use']) {
    this.kind = kind;
    this.name = name;
    this.key = key;
    this.field = field;
    this.use = use;
  }

  get path(): string {
    return `${DIRECTORY}/refs/${this.kind.toLowerCase()}/${this.name}/${this.key}`;
  }
}

/** The path of a token that Kubernetes issues to the pods for one audience (a projected service account token). */
export class TokenFor {
  readonly audience: string;

  constructor(audience: string) {
    this.audience = audience;
  }

  /** Audiences are URLs as a rule, which file names cannot hold. */
  get path(): string {
    const hash = createHash('sha256').update(this.audience).digest('hex').slice(0, 16);
    return `${DIRECTORY}/tokens/${hash}`;
  }
}

/** A part of gateway.yaml that one field of the spec is about. */
export class Part {
  readonly field: string;
  readonly content: Content;

  constructor({ path }: Field<unknown>, content: Content) {
    this.field = path;
    this.content = content;
  }
}

/** Text and numbers that are our own, fields of the spec, references, and maps and lists of them. */
export type Content =
  | string
  | number
  | boolean
  | undefined
  | Field<unknown>
  | FileOf
  | TokenFor
  | Part
  | readonly Content[]
  | { readonly [key: string]: Content };

export interface Assembled {
  /** Plain values; the keys of maps that people wrote are sorted. */
  readonly document: unknown;
  /** Path in the document (as the contract writes it) to the field of the spec that it comes from. */
  readonly fields: ReadonlyMap<string, string>;
  readonly files: readonly FileOf[];
  readonly tokens: readonly TokenFor[];
  readonly problems: readonly { readonly field: string; readonly message: string }[];
}

type Path = readonly (string | number)[];

/** Makes plain values of content. Nothing that people wrote becomes a reference: such text is a problem. */
export function assemble(content: Content): Assembled {
  const fields = new Map<string, string>();
  const files: FileOf[] = [];
  const tokens: TokenFor[] = [];
  const problems: { field: string; message: string }[] = [];

  const literal = (value: unknown, field: string): unknown => {
    if (typeof value === 'string') {
      const [reference] = referencesIn(value);
      if (reference !== undefined) problems.push({ field, message: replaced(reference) });
      return value;
    }
    if (Array.isArray(value)) return value.map((item, index) => literal(item, `${field}[${index}]`));
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(
      Object.entries(value)
        .toSorted(([one], [other]) => (one < other ? -1 : 1))
        .map(([key, item]) => [key, literal(item, `${field}.${key}`)]),
    );
  };

  const plain = (node: Content, path: Path): unknown => {
    if (node instanceof Field) {
      if (node.value === undefined) return undefined;
      fields.set(formatPath(path), node.path);
      return literal(node.value, node.path);
    }
    if (node instanceof Part) {
      const value = plain(node.content, path);
      fields.set(formatPath(path), node.field);
      return value;
    }
    if (node instanceof FileOf) {
      fields.set(formatPath(path), node.field);
      files.push(node);
      return node.use === 'path' ? node.path : `\${file:${node.path}}`;
    }
    if (node instanceof TokenFor) {
      tokens.push(node);
      return node.path;
    }
    if (Array.isArray(node)) return node.map((item: Content, index) => plain(item, [...path, index]));
    if (typeof node !== 'object') return node;
    const entries: [string, unknown][] = [];
    for (const [key, item] of Object.entries(node)) {
      const value = plain(item, [...path, key]);
      if (value !== undefined) entries.push([key, value]);
    }
    // Assignment would call the setter of `__proto__`.
    return Object.fromEntries(entries);
  };

  return { document: plain(content, []), fields, files, tokens, problems };
}

const replaced = (reference: string): string =>
  `has ${reference}, which the gateway would take for a reference and replace: write it differently. Values of Secrets come in by the fields that end in Ref`;
