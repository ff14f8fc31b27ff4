import { lookup as systemLookup, type LookupAddress } from 'node:dns';
import type { LookupFunction } from 'node:net';
import { addressRefusal, hostRefusal } from '@claude-gateway/contract';

/** Answers a host name with every address it has; the system's resolver unless a test brings its own. */
export type Resolve = (
  hostname: string,
  callback: (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void,
) => void;

const resolveWithSystem: Resolve = (hostname, callback) => systemLookup(hostname, { all: true }, callback);

/** A database whose address is none that anything of ours connects to. */
export class BlockedDatabaseError extends Error {
  override readonly name = 'BlockedDatabaseError';
}

/** @throws BlockedDatabaseError when a host is, as it is written, of a metadata service, link-local, multicast or unspecified. */
export function assertDatabaseHost(host: string): void {
  const refusal = hostRefusal(host, true);
  if (refusal !== null) throw new BlockedDatabaseError(`blocked destination: ${refusal}`);
}

/**
 * The `lookup` of a socket. One address among those of a name that nothing connects to refuses them all; what is answered is
 * what the socket connects to, so that no later answer can be another one (DNS rebinding).
 */
export function checkedLookup(resolve: Resolve = resolveWithSystem): LookupFunction {
  return (hostname, options, callback) =>
    resolve(hostname, (error, addresses) => {
      if (error !== null) return callback(error, '', 0);
      for (const { address } of addresses) {
        const refusal = addressRefusal(address, true);
        if (refusal !== null) {
          return callback(
            new BlockedDatabaseError(`blocked destination: ${hostname} resolves to ${refusal}`),
            '',
            0,
          );
        }
      }
      const [first] = addresses;
      if (options.all === true || first === undefined) callback(null, addresses);
      else callback(null, first.address, first.family);
    });
}
