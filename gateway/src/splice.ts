/** Some bytes of a text, from `start` to before `end`, and what is to stand in their place. */
export interface Splice {
  readonly span: { readonly start: number; readonly end: number };
  readonly text: string;
}

/** A copy in which some bytes are replaced; all others stay as they are. @param splices In any order; they do not overlap. */
export function spliced(bytes: Buffer, splices: readonly Splice[]): Buffer {
  const parts: Buffer[] = [];
  let at = 0;
  for (const { span, text } of splices.toSorted((a, b) => a.span.start - b.span.start)) {
    parts.push(bytes.subarray(at, span.start), Buffer.from(text));
    at = span.end;
  }
  parts.push(bytes.subarray(at));
  return Buffer.concat(parts);
}
