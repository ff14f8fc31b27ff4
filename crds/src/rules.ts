import type { z } from 'zod';
import type { KubernetesMeta, ValidationRule } from './structural-schema.ts';

/** A rule that the API server evaluates in CEL, and `make dev`, without an API server, in TypeScript. */
export interface Rule<T> {
  /** CEL over `self`. */
  readonly rule: string;
  /** What a person reads when it is broken: name the remedy. */
  readonly message: string;
  /** The field that is to blame, when it is one of the object's own. */
  readonly field?: string;
  /** The same rule in TypeScript; tests hold both to the same examples. */
  readonly holds: (value: T) => boolean;
}

/** Adds rules to a schema, beside those it has. */
export function withRules<S extends z.ZodType>(schema: S, ...rules: readonly Rule<z.output<S>>[]): S {
  const before = (schema.meta() as KubernetesMeta | undefined)?.['x-kubernetes-validations'] ?? [];
  const validations: readonly ValidationRule[] = rules.map(({ rule, message, field }) => ({
    rule,
    message,
    ...(field === undefined ? {} : { fieldPath: `.${field}` }),
  }));
  return schema
    .superRefine((value, ctx) => {
      for (const { holds, message, field } of rules) {
        if (!holds(value))
          ctx.addIssue({ code: 'custom', message, path: field === undefined ? [] : [field] });
      }
    })
    .meta({ 'x-kubernetes-validations': [...before, ...validations] });
}

type Fields<T> = readonly (keyof T & string)[];

const present = <T extends object>(value: T, fields: Fields<T>): number =>
  fields.filter((field) => value[field] !== undefined).length;

const flags = (fields: readonly string[]): string =>
  `[${fields.map((field) => `has(self.${field})`).join(', ')}].filter(set, set).size()`;

/** Exactly one of these fields is set. */
export const exactlyOneOf = <T extends object>(fields: Fields<T>, message: string): Rule<T> => ({
  rule: `${flags(fields)} == 1`,
  message,
  holds: (value) => present(value, fields) === 1,
});

/** One of these fields is set, or none. */
export const atMostOneOf = <T extends object>(fields: Fields<T>, message: string): Rule<T> => ({
  rule: `${flags(fields)} <= 1`,
  message,
  holds: (value) => present(value, fields) <= 1,
});

/** Text that matches a pattern: a rule, and not `pattern`, because a pattern cannot say what to do. */
export const matching = (pattern: RegExp, message: string): Rule<string> => ({
  rule: `self.matches(${celString(pattern.source)})`,
  message,
  holds: (value) => pattern.test(value),
});

/** A raw CEL string, in which backslashes stand for themselves. */
export function celString(text: string): string {
  if (!text.includes("'")) return `r'${text}'`;
  if (!text.includes('"')) return `r"${text}"`;
  throw new Error(`${text} has both kinds of quotes`);
}
