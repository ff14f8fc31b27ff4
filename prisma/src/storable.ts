/** PostgreSQL's texts hold neither NUL nor half of a surrogate pair; what other people wrote may have both. */
export function storable(text: string): string {
  return text.replaceAll('\0', '').toWellFormed();
}
