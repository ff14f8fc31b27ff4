import type { ClaudeGatewaySpec } from '@claude-gateway/crds';
import { FileOf, Part, type Content } from './document.ts';
import { entriesOf } from './field.ts';
import { headersOf, pathOfSecret, secretOf, seconds, type SpecField } from './parts.ts';

export function listen(spec: SpecField): Content {
  const field = spec.at('listen');
  return new Part(field, {
    host: field.at('host'),
    port: field.at('port'),
    public_url: spec.at('publicURL'),
    tls: field
      .at('tls')
      .at('secretName')
      .whenSet(({ path, value: name }) => ({
        // The keys of a Secret of type kubernetes.io/tls.
        cert: new FileOf('Secret', name, 'tls.crt', path, 'path'),
        key: new FileOf('Secret', name, 'tls.key', path, 'path'),
      })),
    trusted_proxies: field.at('trustedProxies'),
  });
}

export function store(spec: SpecField): Content {
  const field = spec.at('database');
  return new Part(field, {
    postgres_url: secretOf(field.at('urlSecretRef')) ?? field.at('url'),
    username: secretOf(field.at('usernameSecretRef')),
    password: secretOf(field.at('passwordSecretRef')),
    max_connections: field.at('maxConnections'),
    connect_timeout_seconds: seconds(field.at('connectTimeout')),
    start_timeout_seconds: seconds(field.at('startTimeout')),
  });
}

/** Who is served, how large requests may be, and how long things may take. */
export function network(spec: SpecField): Readonly<Record<string, Content>> {
  const limits = spec.at('requestLimits');
  const rates = spec.at('rateLimits');
  const rate = (name: keyof ClaudeGatewaySpec['rateLimits']): Content => {
    const field = rates.at(name);
    return new Part(field, { max: field.at('max'), window_seconds: seconds(field.at('window')) });
  };
  const wait = (name: keyof ClaudeGatewaySpec['timeouts']): Content =>
    seconds(spec.at('timeouts').at(name)).as((length) => length * 1000);
  return {
    access_control: spec.at('accessControl').whenSet(
      (control) =>
        new Part(control, {
          allow_cidrs: control.at('allowCIDRs'),
          deny_cidrs: control.at('denyCIDRs'),
        }),
    ),
    limits: new Part(limits, {
      max_request_bytes: limits.at('maxBodyBytes'),
      max_request_header_bytes: limits.at('maxHeaderBytes'),
      max_url_length: limits.at('maxURLLength'),
      max_buffered_request_bytes: limits.at('maxBufferedBodyBytes'),
      max_connections: limits.at('maxConnections'),
      max_connections_per_address: limits.at('maxConnectionsPerAddress'),
      max_requests_in_flight_per_person: limits.at('maxRequestsInFlightPerPerson'),
      max_requests_in_flight_per_address: limits.at('maxRequestsInFlightPerAddress'),
      min_request_bytes_per_second: limits.at('minBodyBytesPerSecond'),
    }),
    timeouts: {
      upstream_ttfb_ms: wait('upstreamFirstByte'),
      upstream_idle_ms: wait('upstreamIdle'),
      upstream_pings_only_ms: wait('upstreamPingsOnly'),
      request_headers_ms: wait('requestHeaders'),
      request_body_ms: wait('requestBody'),
      client_stall_ms: wait('clientStall'),
      keep_alive_ms: wait('keepAlive'),
    },
    proxy: {
      is_egress_boundary: spec.at('proxy').at('isEgressBoundary'),
      idp_connect_by_hostname: spec.at('proxy').at('idpConnectByHostname'),
    },
    rate_limits: {
      device_authorization: rate('deviceAuthorization'),
      device_verify: rate('deviceVerify'),
      device_confirm: rate('deviceConfirm'),
      token: rate('token'),
      sign_in_pages: rate('signInPages'),
    },
    shutdown: {
      delay_seconds: seconds(spec.at('shutdown').at('delay')),
      grace_seconds: seconds(spec.at('shutdown').at('grace')),
    },
  };
}

export const telemetry = (spec: SpecField): Content =>
  spec.at('telemetry').whenSet(
    (field) =>
      new Part(field, {
        forward_to: field.at('destinations').whenSet((list) =>
          entriesOf(list).map((destination) => {
            const signals = destination.at('signals');
            return new Part(destination, {
              url: destination.at('url'),
              headers: headersOf(destination.at('headers')),
              auth: destination.at('google').whenSet(
                (google) =>
                  new Part(google, {
                    google: { service_account_json: pathOfSecret(google.at('serviceAccountKeySecretRef')) },
                  }),
              ),
              metrics: signals.as((list) => list.includes('Metrics')),
              logs: signals.as((list) => list.includes('Logs')),
              traces: signals.as((list) => list.includes('Traces')),
            });
          }),
        ),
        resource_attributes: field.at('resourceAttributes'),
      }),
  );
