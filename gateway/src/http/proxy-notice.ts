import type { IncomingMessage } from 'node:http';
import type { Log } from '../observe/log.ts';
import { normaliseAddress, type AddressSet } from './client-address.ts';

/** Once an hour for whoever looks at the log later; a client may send such a header for no reason at all. */
const REPEAT_MS = 3_600_000;

/**
 * Says when a proxy seems to be in front that `listen.trusted_proxies` does not name: all clients behind it then count as
 * one, for limits, access lists and the sign-in page.
 */
export class ProxyNotice {
  readonly #log: Log;
  readonly #now: () => number;
  #silentUntil = -Infinity;

  /** @param now In ms. */
  constructor(log: Log, now: () => number = () => performance.now()) {
    this.#log = log;
    this.#now = now;
  }

  /** On the path of every request: behind a proxy that is trusted it compares two texts. */
  look(request: IncomingMessage, clientAddress: string, trusted: AddressSet): void {
    const { headers } = request;
    const header =
      headers['x-forwarded-for'] !== undefined
        ? 'X-Forwarded-For'
        : headers['forwarded'] !== undefined
          ? 'Forwarded'
          : undefined;
    if (header === undefined || this.#silentUntil > this.#now()) return;
    const peer = normaliseAddress(request.socket.remoteAddress ?? '');
    // Another address can only have come out of a trusted proxy's header.
    if (clientAddress !== peer) return;
    const isTrusted = trusted.has(peer);
    if (isTrusted && header === 'X-Forwarded-For') return;
    this.#silentUntil = this.#now() + REPEAT_MS;
    this.#log.warn(
      { peer, header },
      isTrusted
        ? 'a trusted proxy names its clients in Forwarded alone, which is not read: have it send X-Forwarded-For'
        : `a peer that is no trusted proxy sends ${header}: if it is your ingress or load balancer, add its address or ` +
            'network to listen.trusted_proxies (ClaudeGateway: spec.listen.trustedProxies); until then all clients behind ' +
            'it share one address, for limits, access lists and the sign-in page',
    );
  }
}
