import { fetchedUrls } from './fetched-urls.ts';
import type { Path } from './problem.ts';
import { isExposedUrl } from './schema/addresses.ts';
import type { GatewayConfig } from './schema/gateway-config.ts';

const EXPOSED =
  'is plain http://: whoever is on the way can read and change what is sent, credentials and prompts included; use https://';

/**
 * What is valid and probably not meant. What concerns policies together, the gateway's policy room says.
 *
 * @param isProviderList `oidc` is a list in the file.
 */
export function* doubtsAbout(
  config: GatewayConfig,
  isProviderList: boolean,
): Iterable<{ path: Path; message: string }> {
  const published: [Path, string | undefined] = [['listen', 'public_url'], config.listen.public_url];
  for (const [path, url] of [published, ...fetchedUrls(config, isProviderList)]) {
    if (url !== undefined && isExposedUrl(url)) yield { path, message: EXPOSED };
  }
  const { listen, telemetry, store, session, oidc, admin } = config;
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
  const unprefixed = oidc.filter(({ groups_prefix: prefix }) => prefix === undefined);
  if (unprefixed.length > 1 && (admin?.admin_groups.length ?? 0) > 0) {
    yield {
      path: ['admin', 'admin_groups'],
      message: `a group of this name makes administrators whichever of ${unprefixed.map(({ name }) => name).join(', ')} names it: give all but one a groups_prefix`,
    };
  }
  if (new Set(session.jwt_secret).size < session.jwt_secret.length) {
    yield { path: ['session', 'jwt_secret'], message: 'has the same secret twice' };
  }
}
