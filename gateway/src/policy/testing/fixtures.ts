import { readFileSync } from 'node:fs';
import type { Principal } from '../../principal.ts';
import type { ModelRow, PolicyEntry, PolicySource } from '../source.ts';

/** Reads a recording of the reference gateway; its `source` says how it was made. */
export function fixture<T>(name: string): T {
  return JSON.parse(readFileSync(new URL(`../fixtures/${name}`, import.meta.url), 'utf8')) as T;
}

/** A policy as a configuration file writes it. */
export type PolicyInFile = Partial<PolicyEntry>;

export interface ConfigInFile {
  readonly upstreams?: PolicySource['upstreams'];
  readonly models?: readonly ModelRow[];
  readonly auto_include_builtin_models?: boolean;
  readonly managed?: {
    readonly policy_mode?: 'first_match' | 'layered';
    readonly policies: readonly PolicyInFile[];
  };
}

/** Applies the defaults that the configuration loader applies. */
export function load(config: ConfigInFile): PolicySource {
  const policies = config.managed?.policies ?? [];
  return {
    session: { ttl_hours: 1 },
    upstreams: config.upstreams ?? [{ name: 'anthropic', provider: 'anthropic' }],
    models: config.models ?? [],
    auto_include_builtin_models: config.auto_include_builtin_models ?? true,
    managed: {
      policy_mode: config.managed?.policy_mode,
      policies: policies.map(({ match = {}, ...policy }) => ({ match, ...policy })),
    },
  };
}

/** Somebody in these groups. */
export function person(
  groups: readonly string[],
  email: string | undefined = 'polly@corp.example',
): Principal {
  return {
    sub: 'polly',
    ...(email !== undefined && { email }),
    name: 'polly',
    groups,
    sid: '00000000-0000-4000-8000-000000000000',
    kind: 'user',
    expiresAt: 4_000_000_000,
  };
}
