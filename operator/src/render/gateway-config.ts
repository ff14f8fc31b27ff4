import type { ClaudeGateway } from '@claude-gateway/crds';
import { Document, isPair, isScalar, visit } from 'yaml';
import { assemble } from './document.ts';
import { gatewayContent } from './gateway-content.ts';
import type { SigningKeyFiles } from './identity.ts';
import { byObject } from './references.ts';

/** Where a value of a Secret or ConfigMap is mounted in the container of the gateway. */
export interface MountedFile {
  readonly kind: 'Secret' | 'ConfigMap';
  readonly name: string;
  readonly key: string;
  /** Absolute. */
  readonly path: string;
  /** Whether gateway.yaml has the path of it. Otherwise it has `${file:…}`, and the gateway reads it anew by itself. */
  readonly byPath: boolean;
}

/** A projected service account token that the pods need. */
export interface MountedToken {
  readonly audience: string;
  /** Absolute. */
  readonly path: string;
}

export interface RenderedConfig {
  /** gateway.yaml, without any secret: equal specs give equal bytes. */
  readonly yaml: string;
  /** Sorted, each once. */
  readonly files: readonly MountedFile[];
  /** Sorted, each once. */
  readonly tokens: readonly MountedToken[];
  /** What podTemplate says about the gateway's own environment, as far as the configuration depends on it. */
  readonly env: Readonly<Record<string, string>>;
  /** Path in gateway.yaml to the field of the spec that it comes from, for messages. */
  readonly fields: ReadonlyMap<string, string>;
  /** What cannot be said in gateway.yaml. */
  readonly problems: readonly { readonly field: string; readonly message: string }[];
}

/**
 * Renders gateway.yaml. Values of Secrets and ConfigMaps are referred to by the paths where they are mounted.
 *
 * @param signingKeys Those that the operator has made; for `session.signingKeys.generated`.
 * @throws Error when the operator should have made signing keys, and has not.
 */
export function renderConfig(
  gateway: ClaudeGateway,
  signingKeys: SigningKeyFiles | undefined,
): RenderedConfig {
  if (gateway.spec.session.signingKeys.secretRefs === undefined && signingKeys === undefined)
    throw new Error(`ClaudeGateway ${gateway.metadata.name} has no signing keys yet`);
  const { document, files, tokens, fields, problems } = assemble(gatewayContent(gateway, signingKeys));
  const mounted = files.map(({ kind, name, key, path, use }) => ({
    ...{ kind, name, key, path },
    // What is used both ways is read anew by itself in one of them only.
    byPath: use === 'path' || files.some((other) => other.path === path && other.use === 'path'),
  }));
  return {
    yaml: toYaml(document),
    files: distinct(mounted).sort(byObject),
    tokens: distinct(tokens.map(({ audience, path }) => ({ audience, path }))).sort((one, other) =>
      one.path < other.path ? -1 : 1,
    ),
    env: environmentOf(gateway),
    fields,
    problems,
  };
}

function distinct<T extends { readonly path: string }>(list: readonly T[]): T[] {
  return [...new Map(list.map((one) => [one.path, one])).values()];
}

function toYaml(value: unknown): string {
  const document = new Document(value, { aliasDuplicateObjects: false });
  visit(document, {
    Pair(_, pair) {
      // A plain << would merge a map, and people may name a parameter anything.
      if (isPair(pair) && isScalar(pair.key) && pair.key.value === '<<') pair.key.type = 'QUOTE_DOUBLE';
    },
  });
  return document.toString({ lineWidth: 0 });
}

/** Lets the gateway connect to its own machine, such as to a sidecar. */
const ALLOW_LOOPBACK = 'CLAUDE_GATEWAY_ALLOW_LOOPBACK';

function environmentOf({ spec }: ClaudeGateway): Record<string, string> {
  const container = spec.podTemplate?.spec?.containers?.find(({ name }) => name === 'gateway');
  const env = container?.['env'];
  if (!Array.isArray(env)) return {};
  const found = (env as readonly { readonly name?: unknown; readonly value?: unknown }[]).find(
    (variable) => variable?.name === ALLOW_LOOPBACK,
  );
  return typeof found?.value === 'string' ? { [ALLOW_LOOPBACK]: found.value } : {};
}
