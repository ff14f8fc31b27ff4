import { setFlagsFromString } from 'node:v8';

/**
 * Keeps what requests allocate in V8's young generation, where it dies with the request for next to nothing.
 *
 * V8 counts what survives its young collections per place of allocation, and allocates what often does among the
 * long-lived objects from then on (allocation-site pretenuring). In a proxy that is always wrong: what survives does so
 * because requests wait for an upstream, and once one object of a request is long-lived, all that it refers to is kept
 * until a full collection. Young collections took 16 ms instead of 2.7 (`bench/README.md`, "What a change costs").
 *
 * Call it before the first request. The flag is read at each collection, so setting it after V8's start works.
 */
export function keepRequestsYoung(): void {
  setFlagsFromString('--no-allocation-site-pretenuring');
}
