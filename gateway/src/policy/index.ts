export {
  compilePolicy,
  type BootstrapAnswer,
  type Policy,
  type PolicyOptions,
  type SettingsAnswer,
} from './policy.ts';
export { createPolicyRouter, GATEWAY_PROTOCOL_VERSION, type PolicyRouterDependencies } from './router.ts';
export type { ResolvedModel } from './models.ts';
export type { ModelRow, PolicyEntry, PolicySource } from './source.ts';
