import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { clientNetwork, normaliseAddress, type AddressSet } from './client-address.ts';
import { ApiError } from './errors.ts';
import { answerAndClose } from './raw-answer.ts';
import type { Shedding, ShedReason } from './shedding.ts';
import { TallyByKey } from './tally-by-key.ts';
import type { TrafficLimits } from './traffic-limits.ts';

/** Connections beyond the limit that are being refused; more than these are closed without a word. */
const REFUSED_AT_ONCE = 128;
/** From this part of the limit on, idle connections are closed to make room for busy ones. */
const NEARLY_FULL = 0.95;
const EVICT_EVERY_MS = 1_000;

export interface ConnectionRules {
  /** Their connections carry everybody: never counted by address. */
  readonly trustedProxies: AddressSet;
  readonly limits: Pick<TrafficLimits, 'maxConnections' | 'maxConnectionsPerAddress'>;
}

/** Counts the connections of a server and refuses those beyond its limits. */
export class Connections {
  readonly #server: Server;
  readonly #shedding: Shedding;
  readonly #speaksPlainly: boolean;
  readonly #byNetwork = new TallyByKey();
  readonly #refused = new WeakSet<Socket>();
  #rules: ConnectionRules;
  #open = 0;
  #evictedAt = -EVICT_EVERY_MS;

  /** @param speaksPlainly Without TLS: a refusal can be said before anything was received. */
  constructor(server: Server, rules: ConnectionRules, shedding: Shedding, speaksPlainly: boolean) {
    this.#server = server;
    this.#shedding = shedding;
    this.#speaksPlainly = speaksPlainly;
    this.#rules = rules;
    this.update(rules);
    server.on('connection', (socket: Socket) => this.#accept(socket));
    server.on('drop', (data?: { remoteAddress?: string }) =>
      this.#shed('connections', 'limits.max_connections', data?.remoteAddress ?? ''),
    );
  }

  /** For connections from now on; those that stand stay. */
  update(rules: ConnectionRules): void {
    this.#rules = rules;
    this.#server.maxConnections = rules.limits.maxConnections + REFUSED_AT_ONCE;
  }

  /** Whether this connection was refused: what comes over it is not answered. */
  isRefused(socket: Socket): boolean {
    return this.#refused.has(socket);
  }

  #accept(socket: Socket): void {
    const { trustedProxies, limits } = this.#rules;
    const address = normaliseAddress(socket.remoteAddress ?? '');
    const network = trustedProxies.has(address) ? undefined : clientNetwork(address);
    this.#open++;
    if (network !== undefined) this.#byNetwork.add(network, 1);
    socket.once('close', () => {
      this.#open--;
      if (network !== undefined) this.#byNetwork.add(network, -1);
    });
    if (this.#open > limits.maxConnections * NEARLY_FULL) this.#evictIdle();
    const most = limits.maxConnectionsPerAddress;
    if (this.#open > limits.maxConnections) {
      this.#refuse(socket, 'connections', 'limits.max_connections', address);
    } else if (most > 0 && network !== undefined && this.#byNetwork.of(network) > most) {
      this.#refuse(socket, 'connections_per_address', 'limits.max_connections_per_address', address);
    }
  }

  #evictIdle(): void {
    const now = performance.now();
    if (now - this.#evictedAt < EVICT_EVERY_MS) return;
    this.#evictedAt = now;
    this.#server.closeIdleConnections();
  }

  #refuse(socket: Socket, reason: ShedReason, limit: string, address: string): void {
    this.#shed(reason, limit, address);
    this.#refused.add(socket);
    if (this.#speaksPlainly) answerAndClose(socket, tooManyConnections());
    else socket.destroy();
  }

  #shed(reason: ShedReason, limit: string, address: string): void {
    this.#shedding.shed(reason, limit, address);
  }
}

function tooManyConnections(): ApiError {
  return new ApiError(
    'overloaded_error',
    'This gateway has as many connections as it takes; try again in a moment.',
    { status: 503, headers: { 'retry-after': '2', 'x-should-retry': 'true' } },
  );
}
