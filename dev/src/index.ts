export { ApiServer, findKubeProgram, type ApiServerAccess } from './api-server.ts';
export { freePort } from './free-port.ts';
export { cacheDirectory, fetchPackage, type NpmPackage } from './package-cache.ts';
export {
  findPgBouncer,
  startPgBouncer,
  type PgBouncerOptions,
  type PoolMode,
  type RunningPgBouncer,
} from './pgbouncer.ts';
export { startPostgres, type PostgresOptions, type RunningPostgres } from './postgres.ts';
export { findPostgres } from './postgres-binaries.ts';
export {
  startIdentityProvider,
  type IdentityProviderOptions,
  type RunningIdentityProvider,
} from './identity-provider.ts';
export { DEVELOPMENT_USERS, type DevelopmentUser } from './identity-provider-users.ts';
export {
  startMessagesUpstream,
  type MessagesUpstream,
  type MessagesUpstreamOptions,
  type UpstreamFailure,
  type UpstreamRequest,
} from './messages-upstream.ts';
