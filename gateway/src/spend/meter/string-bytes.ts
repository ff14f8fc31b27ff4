/** 1 for bytes that are one character within a JSON string (RFC 8259 §7) and nothing else: printable ASCII. */
export const ORDINARY: Uint8Array = Uint8Array.from({ length: 256 }, (_, c) =>
  c >= 0x20 && c < 0x7f && c !== 0x22 && c !== 0x5c ? 1 : 0,
);

/** 1 for a byte of a character outside of ASCII (RFC 3629 §3), 0 for all others. */
export function highOf(byte: number): number {
  return byte >>> 7;
}
