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
