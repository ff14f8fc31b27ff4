/**
 * Steps over pieces of JSON text (RFC 8259) in bytes. Positions are offsets into the body; -1 says that there is no
 * JSON where it should be.
 */

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

const TRUE = Buffer.from('true');
const FALSE = Buffer.from('false');
const NULL = Buffer.from('null');

/** How far a quote is searched for word by word: a native search pays for its call behind some hundred bytes. */
const NEAR_WORDS = 64;
/** Where the first byte of a word is its lowest; elsewhere every search is a native one. */
const LITTLE_ENDIAN = new Uint8Array(new Int32Array([1]).buffer)[0] === 1;

/** The memory below a body, word by word, for {@link skipLongString}. */
export function wordsBelow(body: Buffer): Int32Array {
  return new Int32Array(body.buffer, 0, LITTLE_ENDIAN ? body.buffer.byteLength >> 2 : 0);
}

export function skipSpace(body: Buffer, at: number): number {
  const { length } = body;
  let i = at;
  while (i < length) {
    const c = body[i] ?? 0;
    if (c > 0x20 || (c !== 0x20 && c !== 0x0a && c !== 0x0d && c !== 0x09)) return i;
    i++;
  }
  return i;
}

/**
 * The rest of a string, from a place that is outside any escape. Source code in JSON has an escaped quote every few
 * bytes, where a native search for each would cost more than parsing: so while quotes come thick the body is looked
 * at four bytes at a time, and only what is farther away is left to `indexOf`.
 */
export function skipLongString(body: Buffer, words: Int32Array, from: number): number {
  const base = body.byteOffset;
  const lastWord = Math.min((base + body.length) >> 2, words.length);
  let i = from;
  for (;;) {
    // To the next word, byte by byte; words are aligned in the memory below the body.
    for (; ((base + i) & 3) !== 0; i++) {
      if (i >= body.length) return -1;
      if (body[i] === QUOTE && !isEscaped(body, i, from)) return i + 1;
    }
    let stop = 0;
    let word = (base + i) >> 2;
    do {
      stop = Math.min(word + NEAR_WORDS, lastWord);
      word = wordWithQuote(words, word, stop);
      if (word >= stop) break;
      const found = quotesIn(words[word] ?? 0);
      for (let marks = found; marks !== 0; marks &= marks - 1) {
        const quote = (word << 2) + ((31 - Math.clz32(marks & -marks)) >> 3) - base;
        if (body[quote] === QUOTE && !isEscaped(body, quote, from)) return quote + 1;
      }
      word++;
      if ((found & (found - 1)) !== 0)
        word = Math.max(word, wordBehindQuotes(body, (word << 2) - base, base));
    } while (word < lastWord);
    const quote = body.indexOf(QUOTE, (word << 2) - base);
    if (quote === -1) return -1;
    if (!isEscaped(body, quote, from)) return quote + 1;
    i = quote + 1;
  }
}

/** Where two escaped quotes stood in one word, before `at`, there may be millions: the word behind all of them. */
function wordBehindQuotes(body: Buffer, at: number, base: number): number {
  let i = body[at - 1] === QUOTE ? at : at - 1;
  while (body[i] === BACKSLASH && body[i + 1] === QUOTE) i += 2;
  return (i + base) >> 2;
}

/** The first word of `[from, stop)` that has a quote in it, or `stop`. On its own, since it is the inner loop. */
function wordWithQuote(words: Int32Array, from: number, stop: number): number {
  let word = from;
  while (word < stop && quotesIn(words[word] ?? 0) === 0) word++;
  return word;
}

/** Marks the quotes among four bytes: the lowest mark is right, higher ones may not be (Mycroft's test for zeros). */
function quotesIn(word: number): number {
  const x = word ^ 0x22222222;
  return ((x - 0x01010101) | 0) & ~x & 0x80808080;
}

/** Whether an odd run of backslashes precedes. @param floor Where no escape is open. */
function isEscaped(body: Buffer, at: number, floor: number): boolean {
  let run = at;
  while (run > floor && body[run - 1] === BACKSLASH) run--;
  return ((at - run) & 1) === 1;
}

/** From the first byte of a number, `true`, `false` or `null` to behind its last. */
export function skipScalar(body: Buffer, at: number): number {
  const first = body[at];
  if (first === 0x74) return isAt(body, at, TRUE) ? at + 4 : -1;
  if (first === 0x66) return isAt(body, at, FALSE) ? at + 5 : -1;
  if (first === 0x6e) return isAt(body, at, NULL) ? at + 4 : -1;
  return skipNumber(body, at);
}

export function isAt(body: Buffer, at: number, word: Buffer): boolean {
  for (let i = 0; i < word.length; i++) if (body[at + i] !== word[i]) return false;
  return true;
}

function skipNumber(body: Buffer, at: number): number {
  let i = body[at] === 0x2d ? at + 1 : at;
  if (body[i] === 0x30) i++;
  else if ((i = skipDigits(body, i)) === -1) return -1;
  if (body[i] === 0x2e && (i = skipDigits(body, i + 1)) === -1) return -1;
  if (body[i] === 0x65 || body[i] === 0x45) {
    i++;
    if (body[i] === 0x2b || body[i] === 0x2d) i++;
    return skipDigits(body, i);
  }
  return i;
}

/** At least one digit. */
function skipDigits(body: Buffer, at: number): number {
  let i = at;
  for (;;) {
    const c = body[i];
    if (c === undefined || c < 0x30 || c > 0x39) return i === at ? -1 : i;
    i++;
  }
}
