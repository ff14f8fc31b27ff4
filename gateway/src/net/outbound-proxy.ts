import { compileProxyChoice, type ProxyOptions } from './proxy-choice.ts';

/** `proxy` of gateway.yaml. */
export interface ProxyConfig {
  readonly is_egress_boundary: boolean;
  readonly idp_connect_by_hostname: boolean;
}

interface Warnings {
  warn(message: string): void;
}

/**
 * The proxy of the environment, used as the environment or the configuration says: either of them can set a switch.
 *
 * @throws Error naming the variable that cannot be used.
 */
export function outboundProxy(
  environment: ProxyOptions,
  { proxy: config }: { readonly proxy: ProxyConfig },
  log: Warnings,
): ProxyOptions {
  compileProxyChoice(environment);
  const boundary = config.is_egress_boundary || environment.resolve === 'proxy';
  const identityProviders =
    config.idp_connect_by_hostname || environment.resolveIdentityProviders === 'proxy';
  const { httpProxy = '', httpsProxy = '' } = environment;
  if ((boundary || identityProviders) && httpProxy.trim() === '' && httpsProxy.trim() === '') {
    log.warn(
      `${boundary ? 'proxy.is_egress_boundary' : 'proxy.idp_connect_by_hostname'} has no effect: set HTTPS_PROXY to the forward proxy`,
    );
  }
  return {
    ...environment,
    resolve: boundary ? 'proxy' : 'gateway',
    ...(identityProviders && { resolveIdentityProviders: 'proxy' }),
  };
}
