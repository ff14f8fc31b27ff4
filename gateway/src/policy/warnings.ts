import { normaliseEntry } from './available-models.ts';
import type { EffectivePolicy } from './managed-settings.ts';
import type { ModelAccess } from './models.ts';
import type { PolicyEntry } from './source.ts';

/** A policy on its base layer, with what follows from it. */
export interface CheckedPolicy {
  readonly policy: EffectivePolicy;
  readonly access: ModelAccess;
}

/**
 * What an operator should hear about policies that are valid and probably not meant. It looks at merged policies,
 * since a key may be inherited; single documents are judged by `validateSettingsDocument` of the contract.
 *
 * @param base Index of the base layer.
 */
export function policyWarnings(
  policies: readonly PolicyEntry[],
  base: number | undefined,
  reachable: readonly CheckedPolicy[],
): string[] {
  const warnings: string[] = [];
  if (base !== undefined && base < policies.length - 1) {
    const after = policies.length - 1 - base;
    warnings.push(
      policies[base]?.origin === undefined
        ? `${placeOf(policies, base)} matches everybody, so the ${after} after it never apply: move it to the end.`
        : `${placeOf(policies, base)} matches everybody, so ${after} of lower precedence that do too, or stand behind one that does, never apply.`,
    );
  }
  for (const { policy, access } of reachable) {
    const path = placeOf(policies, policy.indexes[0] ?? 0);
    warnings.push(...modelWarnings(path, policy, access));
  }
  return warnings;
}

/** Where people find a policy: the resource, or the place in the configuration file, whose policies keep their order. */
function placeOf(policies: readonly PolicyEntry[], index: number): string {
  const label = policies[index]?.origin?.label;
  if (label !== undefined) return label;
  const rowsBefore = policies.slice(0, index).filter(({ origin }) => origin !== undefined).length;
  return `managed.policies[${index - rowsBefore}]`;
}

function modelWarnings(
  path: string,
  { availableModels, document }: EffectivePolicy,
  access: ModelAccess,
): string[] {
  if (availableModels === undefined) return [];
  if (access.listed.length === 0) {
    return [
      `${path}: availableModels allows no model of this gateway, so every request of these people is refused. ` +
        'List model ids or families (fable, opus, sonnet, haiku).',
    ];
  }
  const { model, enforceAvailableModels } = document.settings;
  if (model === undefined && enforceAvailableModels !== true) {
    return [
      `${path}: availableModels restricts the models, but neither model nor enforceAvailableModels: true is set. ` +
        'Claude Code may start on a model outside the list and get a 400 until the developer picks another: add enforceAvailableModels: true.',
    ];
  }
  return typeof model === 'string' && isDeniedId(model, access)
    ? [`${path}: model is "${model}", which availableModels does not allow.`]
    : [];
}

/** Only full ids are judged: what an alias such as `opus` stands for is the client's business. */
function isDeniedId(model: string, access: ModelAccess): boolean {
  return model.startsWith('claude-') && !access.allowsName(normaliseEntry(model));
}
