export {
  CATALOG,
  nanoUsdPerToken,
  PRICED_ONLY,
  providerModelId,
  PROVIDERS,
  resolveModel,
  UNKNOWN_MODEL_PRICES,
  WEB_SEARCH_USD_PER_THOUSAND,
  type CatalogModel,
  type LongPromptPrices,
  type ModelPrices,
  type Provider,
} from './catalog.ts';
export { closestName } from './closest-name.ts';
export { addressRefusal, hostRefusal, isLoopbackName } from './destinations.ts';
export { referencesIn } from './expansion.ts';
export { compileGroupsPath, type GroupsPath } from './groups-path.ts';
export { jsonSchema } from './json-schema.ts';
export { loadConfig, type LoadedConfig, type LoadOptions } from './load-config.ts';
export { lowerAscii } from './lower-ascii.ts';
export { ConfigError, formatPath, type ConfigProblem, type ConfigWarning } from './problem.ts';
export { restartRequired, restartValues } from './restart-required.ts';
export { gatewayConfigSchema } from './schema/gateway-config.ts';
export { DEFAULT_PROVIDER_NAME } from './schema/oidc.ts';
export {
  validateDesktopDocument,
  validateSettingsDocument,
  type DocumentRemark,
  type DocumentVerdict,
} from './settings-document.ts';
export type * from './types.ts';
export { unsupportedSections } from './unsupported-sections.ts';
