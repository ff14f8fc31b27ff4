import { randomInt } from 'node:crypto';

/**
 * Consonants only, so that a code neither spells a word nor holds a letter that looks like a digit (RFC 8628 §6.1).
 * Eight of them make 20^8 codes, 34.5 bits.
 */
export const USER_CODE_ALPHABET = 'BCDFGHJKLMNPQRSTVWXZ';

const LENGTH = 8;
const WELL_FORMED = new RegExp(`^[${USER_CODE_ALPHABET}]{${LENGTH}}$`);

/** Longer input cannot be a code with its separators. */
const LONGEST_INPUT = 64;

/**
 * What people type instead of a letter of the alphabet, where only one letter can have been meant: characters that
 * look like it, and the same shape from a Cyrillic or Greek keyboard. `0` and `O` (D or Q?) are not here.
 */
const LOOKALIKES: Readonly<Record<string, string>> = {
  1: 'L',
  2: 'Z',
  5: 'S',
  6: 'G',
  8: 'B',
  I: 'L',
  U: 'V',
  В: 'B',
  Н: 'H',
  К: 'K',
  М: 'M',
  Р: 'P',
  С: 'C',
  Т: 'T',
  Х: 'X',
  Ј: 'J',
  Ѕ: 'S',
  Β: 'B',
  Η: 'H',
  Κ: 'K',
  Μ: 'M',
  Ν: 'N',
  Ρ: 'P',
  Τ: 'T',
  Χ: 'X',
  Ζ: 'Z',
};

/** A fresh user code, `XXXX-XXXX`; every code is equally likely. */
export function createUserCode(): string {
  let code = '';
  for (let i = 0; i < LENGTH; i++) code += USER_CODE_ALPHABET.charAt(randomInt(USER_CODE_ALPHABET.length));
  return withDash(code);
}

/**
 * The code that a person meant: case, blanks, dashes and other punctuation do not matter, lookalikes are read as the
 * letter that they stand for.
 *
 * @returns `XXXX-XXXX`, or undefined when the input cannot be a user code.
 */
export function normaliseUserCode(input: string): string | undefined {
  if (input.length > LONGEST_INPUT) return undefined;
  const characters = input
    .normalize('NFKC')
    .toUpperCase()
    .replace(/[^\p{L}\p{N}]/gu, '');
  let code = '';
  for (const character of characters) code += LOOKALIKES[character] ?? character;
  return WELL_FORMED.test(code) ? withDash(code) : undefined;
}

function withDash(code: string): string {
  return `${code.slice(0, LENGTH / 2)}-${code.slice(LENGTH / 2)}`;
}
