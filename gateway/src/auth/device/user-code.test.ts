import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { createUserCode, normaliseUserCode, USER_CODE_ALPHABET } from './user-code.ts';

const letter = fc.constantFrom(...USER_CODE_ALPHABET);
const code = fc
  .array(letter, { minLength: 8, maxLength: 8 })
  .map((letters) => `${letters.slice(0, 4).join('')}-${letters.slice(4).join('')}`);

/** Blanks and punctuation that keyboards, chats and copying put between letters. */
const noise = fc
  .array(fc.constantFrom(' ', '-', '–', '—', '‑', '_', '.', '\t', '\u00a0', '\u200b', '\n'), { maxLength: 2 })
  .map((characters) => characters.join(''));

describe('createUserCode', () => {
  it('draws eight letters of the alphabet, each about equally often', () => {
    const counts = new Map<string, number>();
    const draws = 5000;
    for (let i = 0; i < draws; i++) {
      const drawn = createUserCode();
      expect(drawn).toMatch(/^[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}$/);
      for (const character of drawn.replace('-', '')) counts.set(character, (counts.get(character) ?? 0) + 1);
    }
    expect(counts.size).toBe(20);
    // Expected 2000 each with a standard deviation of 44: ten of those away is a bias and not chance.
    for (const count of counts.values()) expect(Math.abs(count - (draws * 8) / 20)).toBeLessThan(440);
  });

  it('is a fixed point of normalisation', () => {
    for (let i = 0; i < 100; i++) {
      const drawn = createUserCode();
      expect(normaliseUserCode(drawn)).toBe(drawn);
    }
  });
});

describe('normaliseUserCode', () => {
  it('does not mind case, blanks and dashes, wherever they are', () => {
    fc.assert(
      fc.property(
        code,
        fc.array(noise, { minLength: 9, maxLength: 9 }),
        fc.boolean(),
        (plain, between, lower) => {
          const letters = [...plain.replace('-', '')];
          const typed =
            letters.map((character, i) => (between[i] ?? '') + character).join('') + (between[8] ?? '');
          expect(normaliseUserCode(lower ? typed.toLowerCase() : typed)).toBe(plain);
        },
      ),
    );
  });

  it('answers any input with a well-formed code or nothing', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 80 }), (input) => {
        const normalised = normaliseUserCode(input);
        if (normalised !== undefined) {
          expect(normalised).toMatch(/^[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}$/);
          expect(normaliseUserCode(normalised)).toBe(normalised);
        }
      }),
    );
  });

  it.each([
    ['WDJ8-5JHT', 'WDJB-SJHT'],
    ['62UI-1BCD', 'GZVL-LBCD'],
    ['ВСН К-МРТХ', 'BCHK-MPTX'],
    ['ＷＤＪＢ－ＭＪＨＴ', 'WDJB-MJHT'],
  ])('reads %s as %s', (typed, meant) => {
    expect(normaliseUserCode(typed)).toBe(meant);
  });

  it.each(['', 'WDJB-MJH', 'WDJB-MJHTT', 'WDJB-MJH0', 'WDJB-MJHA', `WDJB-MJHT${' '.repeat(64)}`])(
    'refuses %j',
    (typed) => {
      expect(normaliseUserCode(typed)).toBeUndefined();
    },
  );
});
