import type { ClaudeGateway } from '@claude-gateway/crds';
import type { Content } from './document.ts';
import { Field } from './field.ts';
import { identityProviders, session, workloadIdentity, type SigningKeyFiles } from './identity.ts';
import { metricsPortOf } from './metrics-port.ts';
import { listen, network, store, telemetry } from './network.ts';
import { admin, alerts, enforcement, pricing } from './spend.ts';
import { models, upstreams } from './upstreams.ts';

/** gateway.yaml of a gateway, in the order of its documentation. */
export function gatewayContent(gateway: ClaudeGateway, signingKeys: SigningKeyFiles | undefined): Content {
  const spec = new Field('spec', gateway.spec);
  return {
    listen: listen(spec),
    oidc: identityProviders(spec),
    session: session(spec, signingKeys),
    store: store(spec),
    upstreams: upstreams(spec),
    models: models(spec),
    auto_include_builtin_models: spec.at('models').at('includeBuiltIn'),
    // The policies themselves are rows of the database.
    managed: {
      policy_mode: spec
        .at('managedSettingsMode')
        .as((mode) => ({ FirstMatch: 'first_match', Layered: 'layered' })[mode]),
    },
    workload_identity: workloadIdentity(spec),
    login_notice: spec.at('loginNotice'),
    ...network(spec),
    telemetry: telemetry(spec),
    metrics: { host: spec.at('listen').at('host'), port: metricsPortOf(gateway) },
    // Without this section there would be no limits at all.
    admin: admin(spec),
    enforcement: enforcement(spec),
    pricing: pricing(spec),
    alerts: alerts(spec),
  };
}
