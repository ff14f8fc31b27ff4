import type { Principal } from '../principal.ts';
import { isList, isObject, type Json, type JsonObject } from './json.ts';
import { unite } from './merge.ts';
import type { EffectivePolicy } from './managed-settings.ts';
import type { ServedModel } from './models.ts';

/** The part of Claude Desktop's configuration that is the same for everybody under one policy. */
export interface DesktopConfiguration {
  readonly common: JsonObject;
}

/** What the gateway knows about itself and tells Claude Desktop. */
export interface DesktopOptions {
  /** Where clients reach this gateway: scheme, host, port. */
  readonly publicUrl: string;
  /** Set when telemetry is forwarded: Claude Desktop then exports to the gateway. */
  readonly telemetry: boolean;
}

/**
 * Derives Claude Desktop's configuration from a policy: the connection to this gateway, the models that may be used,
 * tools and hosts from the Claude Code settings, and the policy's own `desktop` block over it.
 *
 * @returns undefined when the policy does not opt in with a `desktop` block.
 */
export function compileDesktop(
  policy: EffectivePolicy,
  models: readonly ServedModel[],
  options: DesktopOptions,
): DesktopConfiguration | undefined {
  if (policy.desktop === undefined) return undefined;
  const { settings } = policy.document;
  const disabledTools = unite(
    bareDenials(at(settings, 'permissions', 'deny')),
    policy.desktop['disabledBuiltinTools'] ?? [],
  );
  const hosts =
    policy.desktop['coworkEgressAllowedHosts'] ?? at(settings, 'sandbox', 'network', 'allowedDomains');
  return {
    common: {
      ...policy.desktop,
      inferenceProvider: 'gateway',
      inferenceGatewayBaseUrl: options.publicUrl,
      inferenceCredentialKind: 'interactive',
      ...(policy.managesDesktopCode && { inferenceGatewayManagedClaudeCode: true }),
      ...(options.telemetry && { otlpEndpoint: options.publicUrl, otlpProtocol: 'http/protobuf' }),
      inferenceModels: models.map(offer),
      ...(isList(disabledTools) && disabledTools.length > 0 && { disabledBuiltinTools: disabledTools }),
      ...(hosts !== undefined && { coworkEgressAllowedHosts: hosts }),
    },
  };
}

/**
 * The response of `GET /user/bootstrap` for one person.
 *
 * @param expiresAt When Claude Desktop must ask again, in seconds since the epoch.
 */
export function bootstrapBody(
  configuration: DesktopConfiguration,
  principal: Principal,
  expiresAt: number,
): JsonObject {
  const { common } = configuration;
  return {
    ...common,
    ...(common['otlpEndpoint'] !== undefined && { otlpResourceAttributes: resourceAttributes(principal) }),
    expiresAt,
  };
}

function offer({ id, label, supports1m }: ServedModel): JsonObject {
  return {
    name: id,
    ...(label !== undefined && { labelOverride: label }),
    ...(supports1m && { supports1m: true }),
  };
}

/** Deny rules that name a built-in tool as a whole: no specifier in parentheses, no MCP tool. */
function bareDenials(deny: Json | undefined): readonly string[] {
  if (!isList(deny)) return [];
  return deny.filter(
    (rule): rule is string => typeof rule === 'string' && !rule.includes('(') && !rule.startsWith('mcp__'),
  );
}

function resourceAttributes({ sub, email, groups }: Principal): JsonObject {
  return {
    'enduser.id': email ?? sub,
    ...(email !== undefined && { 'user.email': email }),
    ...(groups.length > 0 && { 'user.groups': groups.join(',') }),
    'enduser.sub': sub,
  };
}

function at(value: Json | undefined, ...path: readonly string[]): Json | undefined {
  let found = value;
  for (const key of path) found = isObject(found) ? found[key] : undefined;
  return found;
}
