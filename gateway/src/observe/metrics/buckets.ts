/** Of what is answered at once, in seconds. */
export const REQUEST_SECONDS = [0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10] as const;
/** Of what a model writes, beyond that. */
export const STREAM_SECONDS = [30, 60, 180, 600] as const;
/** Of a database on the same network. */
export const TRANSACTION_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5] as const;
