import { isIP } from 'node:net';
import { z } from 'zod';
import { isFetchableUrl } from './addresses.ts';

/** A string with at least one character. */
export const nonEmpty = (): z.ZodString => z.string().min(1, 'must not be empty');

const DECIMAL = /^\s*[-+]?(\d+(\.\d*)?|\.\d+)(e[-+]?\d+)?\s*$/i;

/** Quoted numbers are numbers: `"8080"` is what `${PORT}` leaves behind. */
function unquoteNumber(value: unknown): unknown {
  return typeof value === 'string' && DECIMAL.test(value) ? Number(value) : value;
}

/** A number, or a string that spells one in decimal. */
export const numeric = <T extends z.ZodType<number>>(schema: T) => z.preprocess(unquoteNumber, schema);

export const positiveInt = () => numeric(z.int().positive());

/** An http(s) URL that does not point at a cloud's metadata service. Loopback is judged when connecting. */
export const fetchableUrl = () =>
  z.string().refine(isFetchableUrl, {
    error: 'must be an http:// or https:// URL, and not of a cloud metadata service',
  });

const PREFIX = /^(0|[1-9]\d{0,2})$/;

/** An IPv4 or IPv6 address or network, such as `10.0.0.0/8` or `::1`. */
export function isAddressOrNetwork(text: string): boolean {
  const slash = text.indexOf('/');
  const family = isIP(slash === -1 ? text : text.slice(0, slash));
  if (family === 0) return false;
  if (slash === -1) return true;
  const prefix = text.slice(slash + 1);
  return PREFIX.test(prefix) && Number(prefix) <= (family === 4 ? 32 : 128);
}

export const network = () =>
  z.string().refine(isAddressOrNetwork, {
    error: 'must be an IP address or a network in CIDR notation, such as 10.0.0.0/8',
  });

/** Email domains are compared in lower case and without `@`. */
export const normalizeDomain = (text: string): string => text.trim().replace(/^@/, '').toLowerCase();

/** For rules over several keys of a map: they are checked although a key is wrong, so that all problems show at once. */
export const evenWithProblems = {
  when: ({ value }: { value: unknown }): boolean =>
    typeof value === 'object' && value !== null && !Array.isArray(value),
};
