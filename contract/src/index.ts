export {
  CATALOG,
  nanoUsdPerToken,
  providerModelId,
  PROVIDERS,
  resolveModel,
  UNKNOWN_MODEL_PRICES,
  WEB_SEARCH_USD_PER_THOUSAND,
  type CatalogModel,
  type ModelPrices,
  type Provider,
} from './catalog.ts';
export { gatewayConfigSchema } from './schema/gateway-config.ts';
export type * from './types.ts';
export {
  validateDesktopDocument,
  validateSettingsDocument,
  type DocumentRemark,
  type DocumentVerdict,
} from './settings-document.ts';
