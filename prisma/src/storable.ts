/** PostgreSQL's texts hold neither NUL nor half of a surrogate pair; what other people wrote may have both. */
export function storable(text: string): string {
  return text.includes('\0') || !text.isWellFormed() ? text.replaceAll('\0', '').toWellFormed() : text;
}

/** Addresses as they are compared: `A` to `Z` in lower case. Unicode's rules would make a `k` of U+212A (KELVIN SIGN). */
export function lowerAscii(text: string): string {
  return text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
}
