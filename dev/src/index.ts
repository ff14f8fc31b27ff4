export { startPostgres, type PostgresOptions, type RunningPostgres } from './postgres.ts';
export { findPostgres } from './postgres-binaries.ts';
