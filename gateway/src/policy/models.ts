import {
  CATALOG,
  providerModelId,
  resolveModel,
  type CatalogModel,
  type Provider,
} from '@claude-gateway/contract';
import { ApiError } from '../http/errors.ts';
import { compileAvailableModels, normaliseEntry } from './available-models.ts';
import { newestFirst } from './model-names.ts';
import type { ModelRow, PolicySource } from './source.ts';

/** The name that a request carried and the model that it means. */
export interface ResolvedModel {
  /** As the client wrote it. */
  readonly requested: string;
  /** The catalog's id, or the id of the operator's row for a model that the catalog does not have. */
  readonly canonical: string;
}

/** A model that this gateway can serve, from the operator's rows or from the catalog. */
export interface ServedModel {
  readonly canonical: string;
  /** The id that model lists show: the operator's, else the catalog's. */
  readonly id: string;
  readonly label?: string;
  readonly description?: string;
  readonly listed: boolean;
  readonly maxInputTokens: number | null;
  readonly supports1m: boolean;
}

/** The models that a person may use. Compiled once per policy. */
export interface ModelAccess {
  allows(canonical: string): boolean;
  /** Every model that there is, served here or not: nothing is kept from this person. */
  readonly everything: boolean;
  /** The same as {@link allows} for any name of the model. */
  allowsName(name: string): boolean;
  /** Models to offer, in the order of `GET /v1/models`. */
  readonly listed: readonly ServedModel[];
}

export interface ModelPolicy {
  /** The access of somebody whose policy has this `availableModels`; undefined means every model. */
  accessFor(availableModels: readonly string[] | undefined): ModelAccess;
  /**
   * Resolves what a client asked for.
   *
   * @throws ApiError 400 when there is no such model here or the person may not use it; it names those they may.
   */
  check(access: ModelAccess, requested: string): ResolvedModel;
  /** The listed model of this name, when the person may use it. */
  find(access: ModelAccess, name: string): ServedModel | undefined;
  /**
   * The model's id at an upstream; undefined when that upstream does not serve it and is to be skipped. A model
   * with a row in `models` goes to the upstreams which that row names and to no other.
   */
  upstreamModel(canonical: string, upstreamName: string): string | undefined;
}

/** How many models an error names before it says "and n more". */
const NAMED_IN_ERRORS = 8;

/** Compiles `models`, `auto_include_builtin_models` and the upstreams' names into lookups. */
export function createModelPolicy(source: PolicySource): ModelPolicy {
  const rows = indexRows(source.models);
  const builtin = source.auto_include_builtin_models;
  const served = serveModels(rows, builtin);
  const targets = planUpstreams(source.upstreams, rows, served);

  const resolve = (name: string): ServedModel | undefined => {
    const known = resolveModel(name);
    return served.get(known?.id ?? name.toLowerCase());
  };

  return {
    accessFor: (availableModels) => {
      const { allows, listed } = compileAccess([...served.values()], availableModels);
      return {
        allows,
        listed,
        everything: builtin && availableModels === undefined,
        allowsName: (name) => allows(resolve(name)?.canonical ?? name),
      };
    },
    check(access, requested) {
      const model = resolve(requested);
      if (model === undefined || !access.allows(model.canonical)) throw refusal(requested, access);
      return { requested, canonical: model.canonical };
    },
    find(access, name) {
      const model = resolve(name);
      return model !== undefined && access.allows(model.canonical) ? model : undefined;
    },
    upstreamModel: (canonical, upstreamName) => targets.get(upstreamName)?.get(canonical),
  };
}

interface Row {
  readonly row: ModelRow;
  readonly canonical: string;
  readonly known: CatalogModel | undefined;
}

/** The operator's rows by lower-case canonical id; of two rows for one model the first counts. */
function indexRows(models: readonly ModelRow[]): ReadonlyMap<string, Row> {
  const rows = new Map<string, Row>();
  for (const row of models) {
    const known = resolveModel(row.id);
    const canonical = known?.id ?? row.id;
    const key = canonical.toLowerCase();
    if (!rows.has(key)) rows.set(key, { row, canonical, known });
  }
  return rows;
}

/** Everything that can be asked for, by lower-case canonical id: the operator's rows first, then the catalog. */
function serveModels(rows: ReadonlyMap<string, Row>, builtin: boolean): ReadonlyMap<string, ServedModel> {
  const served = new Map<string, ServedModel>();
  for (const [key, { row, canonical, known }] of rows) {
    served.set(key, {
      canonical,
      id: row.id,
      ...(row.label !== undefined && { label: row.label }),
      ...(row.description !== undefined && { description: row.description }),
      listed: true,
      maxInputTokens: known?.max_input_tokens ?? null,
      supports1m: known?.supports_1m ?? false,
    });
  }
  for (const model of builtin ? CATALOG : []) {
    if (served.has(model.id)) continue;
    served.set(model.id, {
      canonical: model.id,
      id: model.id,
      listed: model.listed,
      maxInputTokens: model.max_input_tokens,
      supports1m: model.supports_1m,
    });
  }
  return served;
}

/** Which id each upstream gets for each model that it serves. */
function planUpstreams(
  upstreams: PolicySource['upstreams'],
  rows: ReadonlyMap<string, Row>,
  served: ReadonlyMap<string, ServedModel>,
): ReadonlyMap<string, ReadonlyMap<string, string>> {
  const plan = new Map<string, ReadonlyMap<string, string>>();
  for (const { name: upstreamName, provider, region, models } of upstreams) {
    const has = models === undefined ? undefined : new Set(models.map((name) => resolveModel(name)?.id));
    const ids = new Map<string, string>();
    for (const [key, { canonical }] of served) {
      const row = rows.get(key)?.row;
      const id =
        row !== undefined
          ? ownId(row, upstreamName)
          : has === undefined || has.has(canonical)
            ? builtinId(canonical, provider, region)
            : undefined;
      if (id !== undefined) ids.set(canonical, id);
    }
    plan.set(upstreamName, ids);
  }
  return plan;
}

function builtinId(canonical: string, provider: Provider, region?: string): string | undefined {
  const model = resolveModel(canonical);
  return model === undefined ? undefined : providerModelId(model, provider, region);
}

function ownId(row: ModelRow, upstreamName: string): string | undefined {
  return Object.hasOwn(row.upstream_model, upstreamName) ? row.upstream_model[upstreamName] : undefined;
}

function compileAccess(
  models: readonly ServedModel[],
  availableModels: readonly string[] | undefined,
): Pick<ModelAccess, 'allows' | 'listed'> {
  const allowed = new Set(models.filter(testFor(availableModels)).map(({ canonical }) => canonical));
  const listed = models.filter((model) => model.listed && allowed.has(model.canonical));
  return { allows: (canonical) => allowed.has(canonical), listed };
}

function testFor(availableModels: readonly string[] | undefined): (model: ServedModel) => boolean {
  if (availableModels === undefined) return () => true;
  const matches = compileAvailableModels(availableModels);
  // An entry may also spell one model as a provider does; it then means that model.
  const named = new Set(availableModels.map((entry) => resolveModel(normaliseEntry(entry))?.id));
  return ({ canonical, id }) => {
    const known = resolveModel(canonical);
    const names = [id, canonical, ...(known?.aliases ?? [])].map((name) => name.toLowerCase());
    return (known !== undefined && named.has(known.id)) || matches(names);
  };
}

function refusal(requested: string, access: ModelAccess): ApiError {
  const names = newestFirst(access.listed.map(({ id }) => id));
  const shown = names.slice(0, NAMED_IN_ERRORS).join(', ');
  const more = names.length - NAMED_IN_ERRORS;
  const choice =
    names.length === 0
      ? 'No model is available to you here; ask whoever runs this gateway.'
      : `You may use ${shown}${more > 0 ? ` and ${more} more` : ''}: pick one with /model.`;
  return new ApiError(
    'invalid_request_error',
    `The model ${printable(requested)} is not available to you on this gateway. ${choice}`,
  );
}

/** Input of a stranger, fit for a sentence on a terminal. */
function printable(text: string): string {
  const cut = text.length > 120 ? `${text.slice(0, 120)}…` : text;
  return cut.replace(/\p{C}/gu, '\u{fffd}');
}
