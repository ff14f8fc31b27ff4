import { totalmem } from 'node:os';
import type { LimitsConfig, TimeoutsConfig } from '@claude-gateway/contract';

const MIB = 1024 * 1024;
/**
 * Memory for each connection, of which it may take a quarter: 51 KB were measured where headers of 64 KiB are not finished,
 * which anybody can have on all of them.
 */
const CONNECTION_BYTES = 256 * 1024;

/** How much clients may make one process hold. Of every number 0 means no limit, where it may be 0 at all. */
export interface TrafficLimits {
  /** Bytes of the largest request body. */
  readonly maxBodyBytes: number;
  /** Bytes of request bodies that are kept at one time, of all requests together. */
  readonly maxBufferedBodyBytes: number;
  readonly maxConnections: number;
  /** Of one client network, other than trusted proxies. May be 0. */
  readonly maxConnectionsPerAddress: number;
  /** Of one signed-in person or workload. May be 0. */
  readonly maxInFlightPerPerson: number;
  /** Of one client network, until it is known who asks. May be 0. */
  readonly maxInFlightPerAddress: number;
  /** Bytes of headers of requests that are not finished, of all connections together. */
  readonly maxUnfinishedHeaderBytes: number;
  /** On average, after a grace period. May be 0. */
  readonly minBodyBytesPerSecond: number;
  /** From the connection or the end of the last answer's request, until the headers are there. */
  readonly headersMs: number;
  /** How long a body may come as slowly as it likes: a connection has to get up to speed. */
  readonly bodyGraceMs: number;
  /** From the headers to the last byte of the body. */
  readonly bodyMs: number;
  /** How long a client may take nothing of an answer that waits for it. */
  readonly clientStallMs: number;
  /** How long a connection may be idle between two requests. */
  readonly keepAliveMs: number;
  /** How long a client whose request was answered may go on sending a body that nobody reads. */
  readonly discardMs: number;
  /** How often clients are looked at that neither send nor take what is theirs. Fixed when the process starts. */
  readonly sweepMs: number;
}

/** What the container may use, in bytes; without a limit of its own, what the machine has. */
export function memoryBytes(): number {
  const machine = totalmem();
  const constrained = process.constrainedMemory();
  return constrained > 0 && constrained < machine ? constrained : machine;
}

const between = (least: number, value: number, most: number): number =>
  Math.max(least, Math.min(Math.floor(value), most));

/**
 * The limits of a configuration. What it leaves out follows from the memory: see docs/adr/0019-limits-on-clients.md.
 *
 * @param memory In bytes.
 */
export function trafficLimits(
  limits: LimitsConfig,
  timeouts: TimeoutsConfig,
  memory = memoryBytes(),
): TrafficLimits {
  const maxConnections = limits.max_connections ?? between(1_000, memory / CONNECTION_BYTES, 20_000);
  return {
    maxBodyBytes: limits.max_request_bytes,
    maxBufferedBodyBytes: Math.max(
      limits.max_buffered_request_bytes ?? between(64 * MIB, memory / 4, 1024 * MIB),
      limits.max_request_bytes,
    ),
    maxConnections,
    maxConnectionsPerAddress: limits.max_connections_per_address ?? Math.ceil(maxConnections / 2),
    maxInFlightPerPerson: limits.max_requests_in_flight_per_person,
    maxInFlightPerAddress: limits.max_requests_in_flight_per_address,
    minBodyBytesPerSecond: limits.min_request_bytes_per_second,
    maxUnfinishedHeaderBytes: between(16 * MIB, memory / 16, 128 * MIB),
    bodyGraceMs: 10_000,
    headersMs: timeouts.request_headers_ms,
    bodyMs: timeouts.request_body_ms,
    clientStallMs: timeouts.client_stall_ms,
    keepAliveMs: timeouts.keep_alive_ms,
    discardMs: 5_000,
    sweepMs: 1_000,
  };
}
