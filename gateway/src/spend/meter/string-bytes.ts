/** 1 for bytes that are one character within a JSON string (RFC 8259 §7) and nothing else: printable ASCII. */
export const ORDINARY: Uint8Array = Uint8Array.from({ length: 256 }, (_, c) =>
  c >= 0x20 && c < 0x7f && c !== 0x22 && c !== 0x5c ? 1 : 0,
);

/**
 * Added up over the bytes of a text: how many more bytes than UTF-16 code units it has. Two and three bytes are one
 * code unit, four bytes are two (RFC 3629 §3).
 */
export function surplusOf(byte: number): number {
  if (byte < 0x80) return 0;
  if (byte < 0xc0) return 1;
  return byte >= 0xf0 ? -1 : 0;
}
