import type { IncomingHttpHeaders } from 'node:http';

/** Where a member stands in the body, in bytes: `[start, end)`. */
export interface MemberSpan {
  readonly start: number;
  readonly end: number;
}

/** The top-level members that a bound looks at. */
export type BoundField =
  | 'max_tokens'
  | 'messages'
  | 'system'
  | 'tools'
  | 'speed'
  | 'thinking'
  | 'compaction'
  | 'container'
  | 'context_management'
  | 'fallbacks'
  | 'inference_geo'
  | 'mcp_servers'
  | 'thread'
  | 'anthropic_beta';

/** How often strings stand in the body, as names or as values. */
export type BoundWords = Readonly<
  Record<'1h' | 'url' | 'image' | 'file_id' | 'document' | 'cache_control' | 'tool_reference', number>
>;

/** A tool that says its type or names a model, or an entry of `fallbacks`. No member of these names stands there twice. */
export interface BoundPart {
  /** Where it stands, for people: `tools.3`. */
  readonly path: string;
  readonly members: Readonly<
    Partial<Record<'type' | 'model' | 'max_uses' | 'max_tokens' | 'speed', MemberSpan>>
  >;
}

/** A model that a request names in a tool or as a fallback. */
export interface NamedModel {
  /** The catalog's name. */
  readonly canonical: string;
  /** What it is called at each upstream that may answer, by the upstream's name. */
  readonly upstreamModels: ReadonlyMap<string, string>;
}

/** A request for inference, as far as its worst case goes. The body is valid JSON, each member stands there once. */
export interface BoundRequest {
  readonly body: Buffer;
  readonly fields: Readonly<Partial<Record<BoundField, MemberSpan>>>;
  readonly words: BoundWords;
  /** In `tools` and in messages. */
  readonly tools: readonly BoundPart[];
  readonly fallbacks: readonly BoundPart[];
  /** The models that it names beside its own. */
  readonly otherModels: readonly NamedModel[];
  readonly headers: IncomingHttpHeaders;
}

/** Members that are longer are not parsed: nobody sends them, and whoever reads them takes the worst case. */
const MAX_PARSED_BYTES = 64 * 1024;

/** A member's value; undefined when it is missing, too long to be parsed, or no JSON that can be decoded. */
export function valueOf({ body, fields }: Pick<BoundRequest, 'body' | 'fields'>, field: BoundField): unknown {
  return valueAt(body, fields[field]);
}

/** The same for a value at any place. */
export function valueAt(body: Buffer, span: MemberSpan | undefined, maxBytes = MAX_PARSED_BYTES): unknown {
  if (span === undefined || span.end - span.start > maxBytes) return undefined;
  try {
    return JSON.parse(body.toString('utf8', span.start, span.end)) as unknown;
  } catch {
    return undefined;
  }
}

export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
