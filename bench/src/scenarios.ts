/** One kind of traffic. */
export interface Scenario {
  readonly name: string;
  readonly bodyBytes: number;
  /** Text deltas of a streamed answer, each one a write of its own; absent: not streamed. */
  readonly deltas?: number;
  readonly connections: number;
}

const SMALL = 500;
const LARGE = 300_000;
const DELTAS = 20;

const KINDS = [
  { name: 'small', bodyBytes: SMALL },
  { name: 'small, streamed', bodyBytes: SMALL, deltas: DELTAS },
  { name: '300 KB', bodyBytes: LARGE },
  { name: '300 KB, streamed', bodyBytes: LARGE, deltas: DELTAS },
];

export const SCENARIOS: readonly Scenario[] = KINDS.flatMap((kind) =>
  [1, 16, 64].map((connections) => ({ ...kind, connections })),
);
