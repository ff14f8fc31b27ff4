import { lookup as systemLookup, type LookupAddress } from 'node:dns';
import { isIP, type LookupFunction } from 'node:net';
import { addressRefusal, hostRefusal } from '@claude-gateway/contract';

/** Answers a host name with every address it has; the system's resolver unless a test brings its own. */
export type Resolver = (hostname: string) => Promise<readonly LookupAddress[]>;

export interface GuardOptions {
  /** CLAUDE_GATEWAY_ALLOW_LOOPBACK: lets 127.0.0.0/8 and ::1 through, for development. */
  readonly allowLoopback: boolean;
  readonly resolve?: Resolver;
}

/** A destination that no configured URL may lead to. `code` survives being wrapped by HTTP clients as `cause`. */
export class BlockedDestinationError extends Error {
  override readonly name = 'BlockedDestinationError';
  readonly code = 'ERR_BLOCKED_DESTINATION';
}

/**
 * Checks a URL of the configuration as far as it can be done without the network. Names are looked up, and their
 * addresses judged, when a connection is made: see {@link checkedAddresses}.
 *
 * @param options.field Path of the configuration field, for the message.
 * @throws BlockedDestinationError naming the field and the reason.
 */
export function assertUrlAllowed(url: string | URL, options: { allowLoopback: boolean; field: string }): URL {
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch {
    throw new BlockedDestinationError(`${options.field}: not a URL`);
  }
  if (parsed.protocol !== 'https:' && parsed.protocol !== 'http:') {
    throw new BlockedDestinationError(
      `${options.field}: must begin with https:// or http://, not ${parsed.protocol}`,
    );
  }
  const refusal = hostRefusal(parsed.hostname, options.allowLoopback);
  if (refusal !== null)
    throw new BlockedDestinationError(`${options.field}: blocked destination: ${refusal}`);
  return parsed;
}

/**
 * Resolves a host and judges every address of the answer. One bad address among good ones refuses the lot: such an
 * answer is what DNS rebinding looks like. Connect to these very addresses, and to no later answer.
 *
 * @throws BlockedDestinationError, or the resolver's own error.
 */
export async function checkedAddresses(
  hostname: string,
  options: GuardOptions,
): Promise<readonly LookupAddress[]> {
  const named = hostRefusal(hostname, options.allowLoopback);
  if (named !== null) throw new BlockedDestinationError(`blocked destination: ${named}`);
  const family = isIP(hostname);
  if (family !== 0) return [{ address: hostname, family }];

  const addresses = await (options.resolve ?? resolveWithSystem)(hostname);
  for (const { address } of addresses) {
    const refusal = addressRefusal(address, options.allowLoopback);
    if (refusal !== null) {
      throw new BlockedDestinationError(`blocked destination: ${hostname} resolves to ${refusal}`);
    }
  }
  return addresses;
}

/** The `lookup` of a socket: what it answers is what the socket connects to, so check and connection cannot part. */
export function guardedLookup(options: GuardOptions): LookupFunction {
  return (hostname, lookupOptions, callback) => {
    checkedAddresses(hostname, options).then(
      (addresses) => {
        const wanted = matchingFamily(addresses, lookupOptions.family);
        const first = wanted[0];
        if (first === undefined) {
          callback(notFound(hostname), '', 0);
        } else if (lookupOptions.all === true) {
          callback(null, [...wanted]);
        } else {
          callback(null, first.address, first.family);
        }
      },
      (error: unknown) => callback(error as NodeJS.ErrnoException, '', 0),
    );
  };
}

function matchingFamily(
  addresses: readonly LookupAddress[],
  family: number | 'IPv4' | 'IPv6' | undefined,
): readonly LookupAddress[] {
  const number = family === 'IPv4' ? 4 : family === 'IPv6' ? 6 : family;
  return number === 4 || number === 6 ? addresses.filter((address) => address.family === number) : addresses;
}

function notFound(hostname: string): NodeJS.ErrnoException {
  return Object.assign(new Error(`getaddrinfo ENOTFOUND ${hostname}`), { code: 'ENOTFOUND', hostname });
}

function resolveWithSystem(hostname: string): Promise<LookupAddress[]> {
  return new Promise((resolve, reject) => {
    systemLookup(hostname, { all: true }, (error, addresses) => (error ? reject(error) : resolve(addresses)));
  });
}
