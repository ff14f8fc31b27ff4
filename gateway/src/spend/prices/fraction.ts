/** An exact number: `numerator / denominator`, the denominator a power of ten. */
export interface Fraction {
  readonly numerator: bigint;
  readonly denominator: bigint;
}

const DECIMAL = /^(\d+)(?:\.(\d+))?(?:e([+-]?\d+))?$/i;

/**
 * Takes a decimal at its word: 0.1 is one tenth, as it was written, and not the binary number next to it.
 *
 * @throws RangeError for what is not a finite, non-negative decimal.
 */
export function fractionOf(decimal: string | number): Fraction {
  const match = DECIMAL.exec(String(decimal));
  if (match === null) throw new RangeError(`${decimal} is not a non-negative decimal`);
  const [, whole = '', digits = '', exponent = '0'] = match;
  const scale = digits.length - Number(exponent);
  const numerator = BigInt(whole + digits);
  return scale >= 0
    ? { numerator, denominator: 10n ** BigInt(scale) }
    : { numerator: numerator * 10n ** BigInt(-scale), denominator: 1n };
}

export function product(a: Fraction, b: Fraction): Fraction {
  return { numerator: a.numerator * b.numerator, denominator: a.denominator * b.denominator };
}
