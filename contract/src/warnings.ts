import type { Path } from './problem.ts';
import type { GatewayConfig } from './schema/gateway-config.ts';

/** What is valid and probably not meant. What concerns policies together, the gateway's policy room says. */
export function* doubtsAbout(config: GatewayConfig): Iterable<{ path: Path; message: string }> {
  const { listen, telemetry, store, session } = config;
  if (listen.public_url !== undefined && new URL(listen.public_url).pathname !== '/') {
    yield {
      path: ['listen', 'public_url'],
      message: 'has a path: clients want discovery and sign-in at the root of the origin',
    };
  }
  if (telemetry.forward_to.length > 0 && listen.public_url === undefined) {
    yield {
      path: ['telemetry', 'forward_to'],
      message: 'has no effect without listen.public_url, which clients export to',
    };
  }
  if (telemetry.resource_attributes !== undefined && telemetry.forward_to.length === 0) {
    yield {
      path: ['telemetry', 'resource_attributes'],
      message: 'has no effect without telemetry.forward_to',
    };
  }
  if (store.readiness_grace_seconds > 0) {
    yield {
      path: ['store', 'readiness_grace_seconds'],
      message: 'has no effect: readiness of this gateway does not depend on the database',
    };
  }
  if (new Set(session.jwt_secret).size < session.jwt_secret.length) {
    yield { path: ['session', 'jwt_secret'], message: 'has the same secret twice' };
  }
}
