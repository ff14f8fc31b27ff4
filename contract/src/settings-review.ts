import { closestName } from './closest-name.ts';
import type { NumberShape, ObjectShape, RecordShape, SettingShape, TaggedShape } from './settings-shapes.ts';

/** Something about one place of a document, for the person who wrote it. */
export interface DocumentRemark {
  /** Keys and list positions from the document's root, such as `permissions.deny[2]`. */
  readonly path: string;
  /** What was found and what to do, in a phrase that follows the path. */
  readonly message: string;
}

export interface DocumentVerdict {
  /** The document cannot be meant like this: it must not be served. */
  readonly problems: readonly DocumentRemark[];
  /** Allowed, but somebody should look. */
  readonly warnings: readonly DocumentRemark[];
}

/** Collects remarks while it walks a document along its shapes. */
export class Review {
  readonly #problems: DocumentRemark[] = [];
  readonly #warnings: DocumentRemark[] = [];

  verdict(): DocumentVerdict {
    return { problems: this.#problems, warnings: this.#warnings };
  }

  problem(path: string, message: string): void {
    this.#problems.push({ path, message });
  }

  warn(path: string, message: string): void {
    this.#warnings.push({ path, message });
  }

  /** One entry of an object with known keys. */
  entry(
    keys: Readonly<Record<string, SettingShape>>,
    parent: string,
    key: string,
    value: unknown,
    known: string,
  ): void {
    const path = parent === '' ? key : `${parent}.${key}`;
    if (Object.hasOwn(keys, key)) {
      this.value(keys[key] as SettingShape, path, value);
      return;
    }
    this.#unknown(path, key, Object.keys(keys), known);
  }

  value(shape: SettingShape, path: string, value: unknown): void {
    if (typeof shape === 'string') this.#simple(shape, path, value);
    else if ('oneOf' in shape) {
      if (typeof value !== 'string' || !shape.oneOf.includes(value)) {
        this.problem(path, `must be ${listed(shape.oneOf)}, not ${found(value)}`);
      }
    } else if ('number' in shape) this.#number(shape, path, value);
    else if ('anyOf' in shape) {
      if (!shape.anyOf.some((each) => accepts(each, value)))
        this.problem(path, `must be ${shape.described}, not ${found(value)}`);
    } else if ('listOf' in shape) {
      if (!Array.isArray(value)) this.#mismatch(path, 'a list', value);
      else (value as unknown[]).forEach((item, index) => this.value(shape.listOf, `${path}[${index}]`, item));
    } else if (!isObject(value)) this.#mismatch(path, 'an object', value);
    else if ('recordOf' in shape) this.#record(shape, path, value);
    else if ('tag' in shape) this.#tagged(shape, path, value);
    else if ('exactlyOne' in shape) this.#exactlyOne(shape.exactlyOne, path, value);
    else this.#object(shape, path, value);
  }

  #number({ number, above, atMost }: NumberShape, path: string, value: unknown): void {
    if (typeof value !== 'number') this.#mismatch(path, 'a number', value);
    else if (number === 'whole' && !Number.isInteger(value))
      this.problem(path, `must be a whole number, not ${value}`);
    else if (above !== undefined && value <= above)
      this.problem(path, `must be more than ${above}, not ${value}`);
    else if (atMost !== undefined && value > atMost)
      this.problem(path, `must be ${atMost} at most, not ${value}`);
  }

  #record(
    { recordOf, names, named }: RecordShape,
    path: string,
    value: Readonly<Record<string, unknown>>,
  ): void {
    for (const [name, inner] of Object.entries(value)) {
      const at = `${path}.${name}`;
      if (names?.includes(name) === false) this.#unknown(at, name, names, named ?? 'known');
      this.value(recordOf, at, inner);
    }
  }

  #object(
    { keys, required = [], forbidden = {}, open = false }: ObjectShape,
    path: string,
    value: Readonly<Record<string, unknown>>,
  ): void {
    for (const key of required) {
      if (value[key] !== undefined) continue;
      const shape = keys[key] ?? 'any';
      if (shape === 'any') this.problem(`${path}.${key}`, 'is missing');
      else this.value(shape, `${path}.${key}`, undefined);
    }
    for (const [key, inner] of Object.entries(value)) {
      if (Object.hasOwn(forbidden, key)) this.problem(`${path}.${key}`, forbidden[key] ?? '');
      else if (!open || Object.hasOwn(keys, key))
        this.entry(keys, path, key, inner, `a key of ${path} that this gateway knows`);
    }
  }

  #tagged({ tag, variants }: TaggedShape, path: string, value: Readonly<Record<string, unknown>>): void {
    const kind = value[tag];
    const variant = typeof kind === 'string' && Object.hasOwn(variants, kind) ? variants[kind] : undefined;
    if (variant === undefined) this.value({ oneOf: Object.keys(variants) }, `${path}.${tag}`, kind);
    else this.#object({ ...variant, keys: { [tag]: 'string', ...variant.keys } }, path, value);
  }

  #exactlyOne(
    keys: Readonly<Record<string, SettingShape>>,
    path: string,
    value: Readonly<Record<string, unknown>>,
  ): void {
    const present = Object.keys(keys).filter((key) => value[key] !== undefined);
    if (present.length !== 1)
      this.problem(
        path,
        `must have exactly one of ${listed(Object.keys(keys))}, ${present.length === 0 ? 'and has none' : `not ${present.join(' and ')}`}`,
      );
    else this.#object({ keys }, path, value);
  }

  #unknown(path: string, name: string, names: readonly string[], known: string): void {
    const meant = closestName(name, names);
    this.warn(path, `is not ${known}${meant === undefined ? '' : `: did you mean ${meant}?`}`);
  }

  #simple(shape: Extract<SettingShape, string>, path: string, value: unknown): void {
    switch (shape) {
      case 'any':
        return;
      case 'boolean':
      case 'number':
      case 'string':
        if (typeof value !== shape) this.#mismatch(path, SCALARS[shape], value);
        return;
      case 'object':
        if (!isObject(value)) this.#mismatch(path, 'an object', value);
        return;
      case 'list':
        if (!Array.isArray(value)) this.#mismatch(path, 'a list', value);
        return;
      case 'url':
        if (typeof value !== 'string' || !URL.canParse(value))
          this.problem(path, `must be a URL such as https://example.com/x, not ${found(value)}`);
        return;
      case 'strings':
        this.#strings(path, value);
        return;
      case 'rules':
        this.#strings(path, value, (rule, at) => {
          const fault = ruleFault(rule);
          if (fault !== undefined) this.problem(at, fault);
        });
        return;
      case 'env':
        this.#env(path, value);
        return;
    }
  }

  #strings(path: string, value: unknown, each?: (item: string, path: string) => void): void {
    if (!Array.isArray(value)) {
      this.#mismatch(path, 'a list of strings', value);
      return;
    }
    for (const [index, item] of (value as unknown[]).entries()) {
      const at = `${path}[${index}]`;
      if (typeof item === 'string') each?.(item, at);
      else this.#mismatch(at, 'a string', item);
    }
  }

  #env(path: string, value: unknown): void {
    if (!isObject(value)) {
      this.#mismatch(path, 'an object of names and strings', value);
      return;
    }
    for (const [name, inner] of Object.entries(value)) {
      const at = `${path}.${name}`;
      if (typeof inner === 'number' || typeof inner === 'boolean') {
        this.warn(
          at,
          `is ${kindOf(inner)}, but environment variables are strings: write "${inner}" in quotes`,
        );
      } else if (typeof inner !== 'string') this.#mismatch(at, 'a string', inner);
    }
  }

  #mismatch(path: string, expected: string, value: unknown): void {
    this.problem(path, `must be ${expected}, not ${kindOf(value)}`);
  }
}

/** Whether a value has a shape, when nobody asks why not. */
function accepts(shape: SettingShape, value: unknown): boolean {
  const review = new Review();
  review.value(shape, '', value);
  return review.verdict().problems.length === 0;
}

const SCALARS = { boolean: 'true or false', number: 'a number', string: 'a string' } as const;

/**
 * What is wrong with a permission rule. Claude Code drops a rule that it cannot parse.
 * Source: https://code.claude.com/docs/en/permissions#permission-rule-syntax
 */
function ruleFault(rule: string): string | undefined {
  const text = rule.trim();
  if (text === '') return 'is an empty rule';
  const open = text.indexOf('(');
  if (open !== -1 && !text.endsWith(')'))
    return `"${rule}" must end with its closing parenthesis: Tool(specifier)`;
  const tool = open === -1 ? text : text.slice(0, open);
  if (open !== -1 && text.slice(open + 1, -1).trim() === '') {
    return `"${rule}" has empty parentheses: write ${tool} for every use of it`;
  }
  if (/^[a-z]/.test(tool) && !tool.startsWith('mcp__')) {
    return `"${rule}" names no tool: tool names begin with a capital, as in ${tool.charAt(0).toUpperCase()}${tool.slice(1)}`;
  }
  return undefined;
}

export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A value, as a phrase after "not". */
export function kindOf(value: unknown): string {
  if (value === undefined) return 'missing';
  if (value === null) return 'empty';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'an object';
  return typeof value === 'boolean' ? String(value) : `a ${typeof value}`;
}

function found(value: unknown): string {
  return typeof value === 'string' ? `"${value.slice(0, 80)}"` : kindOf(value);
}

function listed(names: readonly string[]): string {
  const last = names.at(-1) ?? '';
  return names.length < 2 ? last : `${names.slice(0, -1).join(', ')} or ${last}`;
}
