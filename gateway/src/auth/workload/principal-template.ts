import { compileClaim, type ClaimReader, type Claims } from '../oidc/claims.ts';

/** Characters of a whole principal, so that it fits every index, header and table. */
const MAX_LENGTH = 256;

const CONTROL = /\p{Cc}/u;

/** A token lacks what the template asks for. `claim` names it as the configuration does. */
export class UnusableClaim extends Error {
  override readonly name = 'UnusableClaim';
  readonly claim: string;

  constructor(claim: string, problem: string) {
    super(`the claim ${claim} ${problem}`);
    this.claim = claim;
  }
}

interface Placeholder {
  readonly claim: string;
  readonly read: ClaimReader;
  /** The text that follows in the template; empty at its end. */
  readonly separator: string;
}

/**
 * Compiles `ci:{repository}:{environment}`. Two tokens with different values never render to the same text: a value
 * that holds a character of the separator after it has that character percent-encoded.
 *
 * @returns A function that throws {@link UnusableClaim}.
 * @throws Error that says what is wrong with the template.
 */
export function compileTemplate(template: string): (claims: Claims) => string {
  const [head = '', ...tails] = template.split('{');
  if (head.includes('}')) throw new Error('has a } without its {');
  const placeholders = tails.map((tail, index): Placeholder => {
    const [claim = '', separator, ...surplus] = tail.split('}');
    if (separator === undefined) throw new Error('has a { without its }');
    if (surplus.length > 0) throw new Error('has a } without its {');
    if (claim === '' || claim === '/') throw new Error('has an empty {}');
    if (separator === '' && index < tails.length - 1) {
      throw new Error('has two placeholders side by side; put a separator such as : between them');
    }
    return { claim, read: compileClaim(claim), separator };
  });

  return (claims) => {
    let text = head;
    for (const { claim, read, separator } of placeholders) {
      text += encode(valueOf(claim, read(claims)), separator) + separator;
    }
    if (text.length > MAX_LENGTH) {
      throw new UnusableClaim(
        placeholders[0]?.claim ?? '',
        `makes a principal of over ${MAX_LENGTH} characters`,
      );
    }
    return text;
  };
}

function valueOf(claim: string, value: unknown): string {
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  if (value === undefined || value === null || value === '') throw new UnusableClaim(claim, 'is missing');
  if (typeof value !== 'string') throw new UnusableClaim(claim, 'is not a single value');
  if (CONTROL.test(value) || !value.isWellFormed()) {
    throw new UnusableClaim(claim, 'holds characters that no principal may have');
  }
  return value;
}

function encode(value: string, separator: string): string {
  if (separator === '') return value;
  return [...value]
    .map((char) => (char === '%' || separator.includes(char) ? encodeURIComponent(char) : char))
    .join('');
}
