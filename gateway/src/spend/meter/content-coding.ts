import type { IncomingHttpHeaders } from 'node:http';
import type { Transform } from 'node:stream';
import {
  constants,
  createBrotliDecompress,
  createGunzip,
  createInflate,
  createInflateRaw,
  createZstdDecompress,
} from 'node:zlib';

/** Decoders that make do with a body that breaks off: what came is decoded as far as it goes. */
const DECODERS: Readonly<Record<string, (first: Buffer) => Transform>> = {
  gzip: () => createGunzip({ finishFlush: constants.Z_SYNC_FLUSH }),
  br: () => createBrotliDecompress({ finishFlush: constants.BROTLI_OPERATION_FLUSH }),
  zstd: () => createZstdDecompress({ finishFlush: constants.ZSTD_e_flush }),
  deflate: (first) =>
    hasZlibHeader(first)
      ? createInflate({ finishFlush: constants.Z_SYNC_FLUSH })
      : createInflateRaw({ finishFlush: constants.Z_SYNC_FLUSH }),
};

/** The content coding of a body: '' for none. Several are one text, which no decoder is found for. */
export function contentCodingOf(headers: IncomingHttpHeaders): string {
  const coding = headers['content-encoding']?.trim().toLowerCase() ?? '';
  if (coding === 'identity') return '';
  return coding === 'x-gzip' ? 'gzip' : coding;
}

/**
 * @param first The first bytes of the body: what goes by `deflate` is zlib data (RFC 9110 §8.4.1.2) or, by an old
 *   mistake, deflate data without its wrapper.
 * @returns undefined for a coding that is not known here.
 */
export function createDecoder(coding: string, first: Buffer): Transform | undefined {
  return Object.hasOwn(DECODERS, coding) ? DECODERS[coding]?.(first) : undefined;
}

/** RFC 1950 §2.2: compression method 8. */
function hasZlibHeader(first: Buffer): boolean {
  return ((first[0] ?? 0) & 0x0f) === 8;
}
