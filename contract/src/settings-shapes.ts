/**
 * What a value of a settings document must look like. Only what clients refuse, or drop without a word, is described;
 * where they take several or open forms it is `any`.
 */
export type SettingShape =
  | 'any'
  | 'boolean'
  | 'number'
  | 'string'
  | 'strings'
  /** An absolute URL. */
  | 'url'
  | 'list'
  | 'object'
  /** A list of permission rules: `Tool` or `Tool(specifier)`. */
  | 'rules'
  /** Environment: names and scalars. */
  | 'env'
  | NumberShape
  | { readonly oneOf: readonly string[] }
  | RecordShape
  | { readonly listOf: SettingShape }
  | ObjectShape
  | TaggedShape
  | ExactlyOne
  | { readonly anyOf: readonly SettingShape[]; readonly described: string };

export interface NumberShape {
  readonly number: 'any' | 'whole';
  /** Larger than this. */
  readonly above?: number;
  readonly atMost?: number;
}

/** Names and values of one shape. */
export interface RecordShape {
  readonly recordOf: SettingShape;
  /** The names that are known, if they are: others are allowed, and warned of. */
  readonly names?: readonly string[];
  /** What such a name is, after "is not". */
  readonly named?: string;
}

/** Known keys of an object; others are allowed, and warned of unless it is `open`. */
export interface ObjectShape {
  readonly keys: Readonly<Record<string, SettingShape>>;
  readonly required?: readonly string[];
  /** It has further keys, which nobody checks. */
  readonly open?: boolean;
  /** Keys that must not stand here, with the reason. */
  readonly forbidden?: Readonly<Record<string, string>>;
}

/** An object whose other keys depend on one of them. */
export interface TaggedShape {
  readonly tag: string;
  readonly variants: Readonly<Record<string, ObjectShape>>;
}

/** An object with one of several keys, no more and no less. */
export interface ExactlyOne {
  readonly exactlyOne: Readonly<Record<string, SettingShape>>;
}
