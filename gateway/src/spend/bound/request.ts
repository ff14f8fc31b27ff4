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
  | 'context_management'
  | 'mcp_servers'
  | 'anthropic_beta';

/** How often strings stand in the body, as names or as values. */
export type BoundWords = Readonly<
  Record<'1h' | 'url' | 'image' | 'file_id' | 'document' | 'cache_control' | 'tool_reference', number>
>;

/** A request for inference, as far as its worst case goes. The body is valid JSON, each member stands there once. */
export interface BoundRequest {
  readonly body: Buffer;
  readonly fields: Readonly<Partial<Record<BoundField, MemberSpan>>>;
  readonly words: BoundWords;
  readonly headers: IncomingHttpHeaders;
}

/** A member's value; undefined when it is missing or no JSON that can be decoded. */
export function valueOf({ body, fields }: Pick<BoundRequest, 'body' | 'fields'>, field: BoundField): unknown {
  const span = fields[field];
  if (span === undefined) return undefined;
  try {
    return JSON.parse(body.toString('utf8', span.start, span.end)) as unknown;
  } catch {
    return undefined;
  }
}

export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
