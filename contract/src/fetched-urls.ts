import type { Path } from './problem.ts';
import type { GatewayConfig } from './schema/gateway-config.ts';

/**
 * Every URL of the file that the gateway itself connects to.
 *
 * @param isProviderList `oidc` is a list in the file.
 */
export function* fetchedUrls(
  config: Partial<GatewayConfig>,
  isProviderList: boolean,
): Iterable<[Path, string | undefined]> {
  for (const [index, provider] of (config.oidc ?? []).entries()) {
    const path = isProviderList ? ['oidc', index] : ['oidc'];
    yield [[...path, 'issuer'], provider.discovery_url === undefined ? provider.issuer : undefined];
    yield [[...path, 'discovery_url'], provider.discovery_url];
  }
  for (const [index, upstream] of (config.upstreams ?? []).entries()) {
    yield [['upstreams', index, 'base_url'], upstream.base_url];
  }
  for (const [index, { url }] of (config.telemetry?.forward_to ?? []).entries()) {
    yield [['telemetry', 'forward_to', index, 'url'], url];
  }
  for (const [index, { url }] of (config.alerts?.webhooks ?? []).entries()) {
    yield [['alerts', 'webhooks', index, 'url'], url];
  }
  for (const [index, { issuer, jwks_url }] of (config.workload_identity ?? []).entries()) {
    yield [['workload_identity', index, 'issuer'], jwks_url === undefined ? issuer : undefined];
    yield [['workload_identity', index, 'jwks_url'], jwks_url];
  }
  yield [['cri', 'jwks_url'], config.cri?.jwks_url];
  yield [['cri', 'issuer'], config.cri?.issuer];
  yield [['cri', 'policy', 'webhook', 'url'], config.cri?.policy?.webhook.url];
}
