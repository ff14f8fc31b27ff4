import type { DevelopmentSecrets } from './secrets.ts';

export const CLIENT_ID = 'claude-gateway-development';

export interface GatewayConfigOptions {
  readonly port: number;
  readonly issuer: string;
  readonly databaseUrl: string;
  /** Absent: the real api.anthropic.com with the key of `ANTHROPIC_API_KEY`. */
  readonly upstreamUrl?: string;
  readonly secrets: DevelopmentSecrets;
}

/** The gateway.yaml of `make dev`: small enough to read whole. Policies come from manifests. */
export function gatewayYaml(options: GatewayConfigOptions): string {
  const upstream =
    options.upstreamUrl === undefined
      ? `  - provider: anthropic
    auth: { api_key: "\${ANTHROPIC_API_KEY}" }`
      : `  # Answers like the Messages API, and costs nothing.
  - provider: anthropic
    base_url: ${quote(options.upstreamUrl)}
    auth: { api_key: sk-ant-development }`;
  return `# Written by \`make dev\` at every start. While it runs, edit this file and watch the gateway take it up. To keep your
# changes, copy the file and start with the copy:  make dev CONFIG=.dev/my-gateway.yaml
listen:
  host: 127.0.0.1
  port: ${options.port}
  public_url: http://127.0.0.1:${options.port}

oidc:
  issuer: ${quote(options.issuer)}
  client_id: ${CLIENT_ID}
  client_secret: ${quote(options.secrets.clientSecret)}

session:
  jwt_secret: ${quote(options.secrets.jwtSecret)}
  # Tokens name the groups that something names, so that they stay short: some ingresses take 8 KiB of headers.
  groups: named

store:
  postgres_url: ${quote(options.databaseUrl)}

upstreams:
${upstream}

# Spend limits come from the manifests in examples/, and from the admin API: docs/admin-api.md.
admin:
  write_keys: [{ id: development, key: ${quote(options.secrets.adminKey)} }]
  admin_groups: [platform-finops]
  blocked_message: ask carol for more
`;
}

/** What the manifests in examples/ mean for somebody, in words, for the instructions. */
export function policyInWords(groups: readonly string[]): string {
  if (groups.includes('contractors')) return 'only claude-haiku-4-5; no Bash, no WebFetch';
  if (groups.includes('platform-finops')) return 'every model, listed by the gateway; no WebFetch';
  return 'every model; no WebFetch';
}

/** A YAML double-quoted scalar is a JSON string. */
function quote(text: string): string {
  return JSON.stringify(text);
}
