import { resolveModel } from './catalog.ts';
import { closestName } from './closest-name.ts';
import { fetchedUrls } from './fetched-urls.ts';
import { isLoopbackUrl } from './schema/addresses.ts';
import type { GatewayConfig } from './schema/gateway-config.ts';
import type { Issue } from './issues.ts';
import type { Path } from './problem.ts';

export interface CrossCheckContext {
  /** The sections that are valid by themselves, with their defaults. */
  readonly config: Partial<GatewayConfig>;
  /** The file says something about this section, right or wrong. */
  readonly has: (section: keyof GatewayConfig) => boolean;
  /** `oidc` is a list in the file. */
  readonly isProviderList: boolean;
  /** CLAUDE_GATEWAY_ALLOW_LOOPBACK. */
  readonly allowLoopback: boolean;
}

type CrossCheck = (context: CrossCheckContext) => Iterable<Issue>;

/** The rules that span sections, and those of whole lists. */
export function crossCheck(context: CrossCheckContext): Issue[] {
  return CHECKS.flatMap((check) => [...check(context)]);
}

const CHECKS: readonly CrossCheck[] = [
  identityProvider,
  upstreamNames,
  bedrockUpstreams,
  userIdentity,
  modelUpstreams,
  enforcement,
  pricing,
  alerts,
  metrics,
  cri,
  loopback,
];

function* identityProvider({ config, has }: CrossCheckContext): Iterable<Issue> {
  if (!has('oidc') && config.cri?.enabled !== true) {
    yield { path: ['oidc'], message: 'is required: one identity provider, or a list of them', missing: true };
  }
}

function* upstreamNames({ config }: CrossCheckContext): Iterable<Issue> {
  const seen = new Set<string>();
  for (const [index, { name }] of (config.upstreams ?? []).entries()) {
    if (seen.has(name)) {
      yield {
        path: ['upstreams', index],
        message: `the name ${name} is taken by an earlier upstream; give each its own (without one, the provider is the name)`,
      };
    }
    seen.add(name);
  }
}

function* bedrockUpstreams({ config }: CrossCheckContext): Iterable<Issue> {
  const upstreams = config.upstreams ?? [];
  const bedrock = upstreams.filter((upstream) => upstream.provider === 'bedrock');
  const guarded = bedrock.filter(({ guardrail }) => guardrail !== undefined);
  const taggings = new Set(guarded.map(({ guardrail }) => guardrail?.input_tagging));
  for (const [index, upstream] of upstreams.entries()) {
    const path = ['upstreams', index];
    const { provider } = upstream;
    if ((provider === 'bedrock' || provider === 'mantle') && upstream.assume_role !== undefined) {
      if (upstream.auth.aws_bearer_token !== undefined) {
        yield {
          path: [...path, 'assume_role'],
          message: 'needs access keys or the default credential chain: aws_bearer_token cannot assume a role',
        };
      }
    }
    if (guarded.length === 0) continue;
    if (provider === 'bedrock' && upstream.guardrail === undefined) {
      yield {
        path: [...path, 'guardrail'],
        message: 'must be on all bedrock upstreams or none: failover must not go round it',
        missing: true,
      };
    } else if (provider === 'bedrock' && taggings.size > 1) {
      yield {
        path: [...path, 'guardrail', 'input_tagging'],
        message: 'must be the same on all bedrock upstreams, for failover',
        missing: upstream.guardrail?.input_tagging === undefined,
      };
    } else if (provider === 'mantle') {
      yield {
        path,
        message: 'mantle has no guardrails, and a bedrock upstream has one: failover must not go round it',
      };
    }
  }
}

const ANTHROPIC_HOST =
  /^(.+\.)?anthropic\.com$|^aws-external-anthropic\.[^.]+\.api\.aws$|^claude\.googleapis\.com$/;

function* userIdentity({ config }: CrossCheckContext): Iterable<Issue> {
  for (const [index, upstream] of (config.upstreams ?? []).entries()) {
    if (upstream.provider !== 'anthropic' || upstream.forward_user_identity !== true) continue;
    const host = new URL(upstream.base_url).hostname.replace(/\.+$/, '');
    if (ANTHROPIC_HOST.test(host)) {
      yield {
        path: ['upstreams', index, 'forward_user_identity'],
        message: `is for a proxy of your own at base_url: ${host} must not be told who your developers are`,
      };
    }
  }
}

function* modelUpstreams({ config }: CrossCheckContext): Iterable<Issue> {
  if (config.upstreams === undefined) return;
  const names = config.upstreams.map(({ name }) => name);
  for (const [index, model] of (config.models ?? []).entries()) {
    for (const name of Object.keys(model.upstream_model)) {
      if (!names.includes(name)) {
        yield unknownUpstream(['models', index, 'upstream_model', name], name, names);
      }
    }
  }
}

/** Characters: a name that is longer may be a secret that a reference put into the wrong place. */
const MAX_NAME_SHOWN = 40;

function unknownUpstream(path: Path, name: string, names: readonly string[]): Issue {
  const suggestion = closestName(name, names);
  return {
    path,
    message: `no upstream has this name; there is ${names.filter((known) => known.length <= MAX_NAME_SHOWN).join(', ')}`,
    ...(suggestion === undefined ? {} : { suggestion }),
  };
}

function* enforcement({ config, has }: CrossCheckContext): Iterable<Issue> {
  if (config.enforcement?.fail_closed_on_error === true && !has('admin')) {
    yield {
      path: ['enforcement', 'fail_closed_on_error'],
      message: 'has no effect without an admin section, which turns spend limits on',
    };
  }
}

function* pricing({ config, has }: CrossCheckContext): Iterable<Issue> {
  const policies = config.managed?.policies;
  if (has('pricing') && !has('admin') && policies !== undefined && policies.length === 0) {
    yield { path: ['pricing'], message: 'has no effect without an admin section or a policy in managed' };
  }
  const names = config.upstreams?.map(({ name }) => name);
  const seen = new Set<string>();
  for (const [index, { upstream, model }] of (config.pricing?.overrides ?? []).entries()) {
    const path = ['pricing', 'overrides', index];
    if (names !== undefined && !names.includes(upstream)) {
      yield unknownUpstream([...path, 'upstream'], upstream, names);
    }
    const key = JSON.stringify([upstream, resolveModel(model)?.id ?? model.toLowerCase()]);
    if (seen.has(key))
      yield { path, message: 'prices the same model on the same upstream as an earlier entry' };
    seen.add(key);
  }
}

function* alerts({ config, has }: CrossCheckContext): Iterable<Issue> {
  if ((config.alerts?.webhooks.length ?? 0) > 0 && !has('admin')) {
    yield {
      path: ['alerts', 'webhooks'],
      message: 'have no effect without an admin section, which turns spend limits on',
    };
  }
}

function* metrics({ config }: CrossCheckContext): Iterable<Issue> {
  const port = config.metrics?.port;
  if (port !== undefined && port !== 0 && port === config.listen?.port) {
    yield {
      path: ['metrics', 'port'],
      message: `is the port of listen: metrics need one of their own, such as ${port === 9464 ? 9465 : 9464}`,
    };
  }
}

function* cri({ config }: CrossCheckContext): Iterable<Issue> {
  if (config.cri?.enabled !== true) return;
  for (const key of ['audience', 'org_allowlist'] as const) {
    if (config.cri[key].length === 0) {
      yield { path: ['cri', key], message: 'needs at least one entry when cri is enabled', missing: true };
    }
  }
}

const NOT_LOOPBACK =
  'is on this machine: set CLAUDE_GATEWAY_ALLOW_LOOPBACK=1 in the environment of the gateway to allow that (for development)';

/** Connections are guarded again when they are made: a name may lead to a loopback address too. */
function* loopback(context: CrossCheckContext): Iterable<Issue> {
  if (context.allowLoopback) return;
  for (const [path, url] of fetchedUrls(context.config, context.isProviderList)) {
    if (url !== undefined && isLoopbackUrl(url)) yield { path, message: NOT_LOOPBACK };
  }
}
