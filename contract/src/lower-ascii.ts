/**
 * Addresses and domains as they are compared: only `A` to `Z` become lower case. Unicode's rules would make an ASCII
 * `k` of U+212A (KELVIN SIGN), and so one person's address of another's.
 */
export function lowerAscii(text: string): string {
  // Most are lower case as they come, and this is asked for every request.
  if (!/[A-Z]/.test(text)) return text;
  return text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
}
