import type { ConfigProblem } from './problem.ts';
import type { GatewayConfig } from './schema/gateway-config.ts';
import type { UpstreamConfig } from './schema/upstreams.ts';

interface Gap {
  /** `upstreams[]` stands for each upstream. */
  readonly path: string;
  readonly isSet: (config: GatewayConfig) => boolean;
  readonly lacks: string;
}

interface UpstreamGap {
  readonly key: string;
  readonly isSet: (upstream: UpstreamConfig) => boolean;
  readonly lacks: string;
}

/** What the schema knows and this version does not do yet. Whoever builds it deletes the line. */
const GAPS: readonly Gap[] = [
  {
    path: 'telemetry.forward_to',
    isSet: ({ telemetry }) => telemetry.forward_to.length > 0,
    lacks: 'forwarding of telemetry is',
  },
  {
    path: 'load_test_mode',
    isSet: ({ load_test_mode: mode }) => mode?.enabled === true,
    lacks: 'synthetic answers are',
  },
  { path: 'cri', isSet: ({ cri }) => cri?.enabled === true, lacks: 'customer-routed inference is' },
  {
    path: 'managed.settings',
    isSet: ({ managed }) => managed.settings !== undefined,
    lacks: 'settings outside of policies are',
  },
];

const UPSTREAM_GAPS: readonly UpstreamGap[] = [
  {
    key: 'provider',
    isSet: ({ provider }) => provider !== 'anthropic',
    lacks: 'providers other than anthropic are',
  },
  { key: 'groups', isSet: ({ groups }) => groups !== undefined, lacks: 'upstreams for single groups are' },
  { key: 'models', isSet: ({ models }) => models !== undefined, lacks: 'upstreams for single models are' },
  {
    key: 'forward_user_identity',
    isSet: (upstream) => upstream.provider === 'anthropic' && upstream.forward_user_identity === true,
    lacks: 'telling a proxy who is asking is',
  },
];

/** Everything configured that this version would silently ignore. A gateway that gets any of it refuses to start. */
export function unsupportedSections(config: GatewayConfig): ConfigProblem[] {
  const sections = GAPS.filter(({ isSet }) => isSet(config)).map(({ path, lacks }) => toProblem(path, lacks));
  const upstreams = config.upstreams.flatMap((upstream, index) =>
    UPSTREAM_GAPS.filter(({ isSet }) => isSet(upstream)).map(({ key, lacks }) =>
      toProblem(`upstreams[${index}].${key}`, lacks),
    ),
  );
  return [...sections, ...upstreams];
}

function toProblem(path: string, lacks: string): ConfigProblem {
  return { path, message: `is valid, but ${lacks} not built into this version; remove it to start` };
}
