const BINARY = ['Ki', 'Mi', 'Gi', 'Ti', 'Pi', 'Ei'];
/** Powers of ten. */
const DECIMAL: Readonly<Record<string, number>> = {
  n: -9,
  u: -6,
  m: -3,
  '': 0,
  k: 3,
  M: 6,
  G: 9,
  T: 12,
  P: 15,
  E: 18,
};
const QUANTITY = /^([+-]?)(\d*)(?:\.(\d*))?(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE]|[eE][+-]?\d{1,2})?$/;

/**
 * A resource quantity in billionths, rounded up as Kubernetes does; undefined when it is none.
 * Source: k8s.io/apimachinery/pkg/api/resource.
 */
export function parseQuantity(text: string): bigint | undefined {
  const match = QUANTITY.exec(text);
  if (match === null) return undefined;
  const [, sign, whole = '', fraction = '', suffix = ''] = match;
  if (whole + fraction === '') return undefined;
  const binary = BINARY.indexOf(suffix);
  const power = binary >= 0 ? 0 : (DECIMAL[suffix] ?? Number(suffix.slice(1)));
  const scale = power + 9 - fraction.length;
  const digits = BigInt(whole + fraction) * 1024n ** BigInt(binary + 1);
  const divisor = 10n ** BigInt(Math.max(0, -scale));
  const amount = (digits * 10n ** BigInt(Math.max(0, scale)) + divisor - 1n) / divisor;
  return sign === '-' ? -amount : amount;
}

/** Whether two values mean the same amount: the server says `1` where `1000m` was applied. */
export function sameQuantity(a: unknown, b: unknown): boolean {
  const [left, right] = [a, b].map((value) =>
    typeof value === 'string' || typeof value === 'number' ? parseQuantity(String(value)) : undefined,
  );
  return left !== undefined && left === right;
}
