import { closestName } from './closest-name.ts';
import { HOOK_EVENTS, HOOK_TYPES, type SettingShape } from './settings-keys.ts';

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
    const meant = closestName(key, Object.keys(keys));
    this.warn(path, `is not ${known}${meant === undefined ? '' : `: did you mean ${meant}?`}`);
  }

  value(shape: SettingShape, path: string, value: unknown): void {
    if (typeof shape === 'string') this.#simple(shape, path, value);
    else if ('oneOf' in shape) {
      if (typeof value !== 'string' || !shape.oneOf.includes(value)) {
        this.problem(path, `must be ${listed(shape.oneOf)}, not ${found(value)}`);
      }
    } else if (!isObject(value)) {
      this.#mismatch(path, 'an object', value);
    } else if ('recordOf' in shape) {
      for (const [key, inner] of Object.entries(value)) this.value(shape.recordOf, `${path}.${key}`, inner);
    } else {
      for (const [key, inner] of Object.entries(value))
        this.entry(shape.keys, path, key, inner, `a key of ${path} that this gateway knows`);
    }
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
      case 'hooks':
        this.#hooks(path, value);
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

  #hooks(path: string, value: unknown): void {
    if (!isObject(value)) {
      this.#mismatch(path, 'an object of events', value);
      return;
    }
    for (const [event, matchers] of Object.entries(value)) {
      const at = `${path}.${event}`;
      if (!HOOK_EVENTS.includes(event)) {
        const meant = closestName(event, HOOK_EVENTS);
        this.warn(
          at,
          `is not an event that this gateway knows${meant === undefined ? '' : `: did you mean ${meant}?`}`,
        );
      }
      if (!Array.isArray(matchers)) {
        this.#mismatch(at, 'a list of {matcher, hooks}', matchers);
        continue;
      }
      for (const [index, matcher] of (matchers as unknown[]).entries())
        this.#matcher(`${at}[${index}]`, matcher);
    }
  }

  #matcher(path: string, value: unknown): void {
    if (!isObject(value)) {
      this.#mismatch(path, 'an object with hooks', value);
      return;
    }
    const { matcher, hooks } = value;
    if (matcher !== undefined && typeof matcher !== 'string')
      this.#mismatch(`${path}.matcher`, 'a string', matcher);
    if (!Array.isArray(hooks)) {
      this.#mismatch(`${path}.hooks`, 'a list of hooks', hooks);
      return;
    }
    for (const [index, hook] of (hooks as unknown[]).entries()) this.#hook(`${path}.hooks[${index}]`, hook);
  }

  #hook(path: string, value: unknown): void {
    if (!isObject(value)) {
      this.#mismatch(path, 'an object with a type', value);
      return;
    }
    const { type } = value;
    const required =
      typeof type === 'string' && Object.hasOwn(HOOK_TYPES, type) ? HOOK_TYPES[type] : undefined;
    if (required === undefined) {
      this.problem(`${path}.type`, `must be ${listed(Object.keys(HOOK_TYPES))}, not ${found(type)}`);
      return;
    }
    for (const key of required) {
      if (typeof value[key] !== 'string') this.#mismatch(`${path}.${key}`, 'a string', value[key]);
    }
  }

  #mismatch(path: string, expected: string, value: unknown): void {
    this.problem(path, `must be ${expected}, not ${kindOf(value)}`);
  }
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
