import { BlockList, isIP } from 'node:net';
import { z } from 'zod';
import { lowerAscii } from '../lower-ascii.ts';
import { hasUserInfo, isFetchableUrl, isSecureUrl } from './addresses.ts';

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

const NO_USER_INFO = {
  error:
    'must not hold a user name or password: take them out of the URL, and write credentials under a key of their own (such as auth, headers or secret)',
  abort: true,
} as const;

/** A URL without `user:password@`. */
export const urlText = () => z.string().refine((text) => !hasUserInfo(text), NO_USER_INFO);

/** An http(s) URL that does not point at a cloud's metadata service. Loopback is judged when connecting. */
export const fetchableUrl = () =>
  urlText().refine(isFetchableUrl, {
    error:
      'must be an http:// or https:// URL, and not of a cloud metadata service, link-local, multicast or unspecified',
  });

/** As {@link fetchableUrl}, and encrypted unless it stays on this machine. */
export const secureUrl = () =>
  urlText()
    .refine(isSecureUrl, {
      error: 'must be an https:// URL; http:// for loopback addresses only',
      abort: true,
    })
    .refine(isFetchableUrl, {
      error: 'must not be of a cloud metadata service, link-local, multicast or unspecified',
    });

const PREFIX = /^(0|[1-9]\d{0,2})$/;

/** An IPv4 or IPv6 address or network, such as `10.0.0.0/8` or `::1`. */
export function isAddressOrNetwork(text: string): boolean {
  const slash = text.indexOf('/');
  const family = isIP(slash === -1 ? text : text.slice(0, slash));
  if (family === 0) return false;
  if (slash === -1) return true;
  const prefix = text.slice(slash + 1);
  if (!PREFIX.test(prefix) || Number(prefix) > (family === 4 ? 32 : 128)) return false;
  return Number(prefix) >= MAPPED_BITS || !isMapped(text.slice(0, slash));
}

/** The prefix of IPv4-mapped addresses: a network of them that is wider would be more than all of IPv4. */
const MAPPED_BITS = 96;
const MAPPED = new BlockList();
MAPPED.addSubnet('0.0.0.0', 0, 'ipv4');

/** `::ffff:10.0.0.0`, however it is spelled. */
function isMapped(address: string): boolean {
  return isIP(address) === 6 && MAPPED.check(address, 'ipv6');
}

export const network = () =>
  z.string().refine(isAddressOrNetwork, {
    error: 'must be an IP address or a network in CIDR notation, such as 10.0.0.0/8',
  });

/** Email domains are compared in lower case and without `@`. */
export const normalizeDomain = (text: string): string => lowerAscii(text.trim().replace(/^@/, ''));

/** For rules over several keys of a map: they are checked although a key is wrong, so that all problems show at once. */
export const evenWithProblems = {
  when: ({ value }: { value: unknown }): boolean =>
    typeof value === 'object' && value !== null && !Array.isArray(value),
};
