/** How long an upstream that has begun to answer may say nothing, in ms; 0 is for ever. */
export interface SilenceLimits {
  /** Without a byte. */
  readonly idleMs: number;
  /** With nothing but signs of life: pings and comments. */
  readonly pingsOnlyMs: number;
}

/** Pings are the shortest events; nothing longer is looked at. In bytes. */
const MAX_PING_BYTES = 256;

const COLON = 0x3a;
const LF = 0x0a;
const CR = 0x0d;
const LETTER_D = 0x64;
const LETTER_E = 0x65;
const LETTER_P = 0x70;

/** Comments, pings with the data that the API gives them, and the blank lines between them. */
const SIGNS_OF_LIFE =
  /^(?:(?::[^\r\n]*|event: ?ping|data: ?\{\s*"type"\s*:\s*"ping"[^{}]*\}|data: ?\{\}|data: ?)?(?:\r\n|\n|\r))+$/;

/**
 * Whether a chunk of an event stream only shows that its sender is there. For a chunk of an honest answer this costs one or two
 * comparisons.
 */
export function isSignOfLife(chunk: Buffer): boolean {
  if (chunk.length > MAX_PING_BYTES) return false;
  const first = chunk[0];
  // `event: content_block_delta` is told from `event: ping` by the first letter of the name.
  if (first === LETTER_E) {
    if (chunk[7] !== LETTER_P && chunk[6] !== LETTER_P) return false;
  } else if (first !== COLON && first !== LETTER_D && first !== LF && first !== CR) {
    return false;
  }
  return SIGNS_OF_LIFE.test(chunk.toString('latin1'));
}

/** An upstream that has begun to answer says nothing any more. */
export class SilentUpstreamError extends Error {
  override readonly name = 'SilentUpstreamError';

  /** @param ms Of the limit that is over. */
  constructor(pings: boolean, ms: number) {
    super(
      pings
        ? `nothing but pings within ${ms} ms (timeouts.upstream_pings_only_ms)`
        : `no byte of the answer within ${ms} ms (timeouts.upstream_idle_ms)`,
    );
  }
}
