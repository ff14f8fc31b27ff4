import type { TrafficLimits } from '../traffic-limits.ts';

const MIB = 1024 * 1024;

/** Limits that no honest test meets. */
export const USUAL_TRAFFIC: TrafficLimits = {
  maxBodyBytes: 32 * MIB,
  maxBufferedBodyBytes: 256 * MIB,
  maxConnections: 10_000,
  maxConnectionsPerAddress: 0,
  maxInFlightPerPerson: 0,
  maxInFlightPerAddress: 0,
  minBodyBytesPerSecond: 0,
  maxUnfinishedHeaderBytes: 64 * MIB,
  bodyGraceMs: 10_000,
  headersMs: 20_000,
  bodyMs: 300_000,
  clientStallMs: 120_000,
  keepAliveMs: 620_000,
  discardMs: 5_000,
  sweepMs: 1_000,
};
