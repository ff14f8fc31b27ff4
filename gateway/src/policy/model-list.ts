import { ApiError } from '../http/errors.ts';
import { displayName } from './model-names.ts';
import type { ServedModel } from './models.ts';

/** A model as `GET /v1/models` shows it. */
export interface ModelView {
  readonly type: 'model';
  readonly id: string;
  /** For people: the administrator's label, else what the model is called, else its id. */
  readonly display_name: string;
  readonly description?: string;
  /** Context size in tokens, where known. */
  readonly max_input_tokens?: number;
}

/** The list shape of Anthropic's API. Source: https://docs.claude.com/en/api/models-list */
export interface ModelList {
  readonly data: readonly ModelView[];
  readonly has_more: boolean;
  readonly first_id: string | null;
  readonly last_id: string | null;
}

/** Paging parameters as they came in the URL. */
export interface ModelListQuery {
  readonly limit?: unknown;
  readonly after_id?: unknown;
  readonly before_id?: unknown;
}

const MAX_LIMIT = 1000;

/**
 * Renders a list, or the page of it that the query asks for. Without `limit` the whole list is one page: it is short,
 * and clients of the reference gateway, which has no pages, read only the first.
 *
 * @throws ApiError 400 when a paging parameter makes no sense.
 */
export function renderModelList(models: readonly ServedModel[], query: ModelListQuery = {}): ModelList {
  const limit = parseLimit(query.limit);
  const before = positionOf(models, 'before_id', query.before_id);
  const after = positionOf(models, 'after_id', query.after_id);
  const rest = models.slice(after === undefined ? 0 : after + 1, before);
  // Paging backwards shows the models right before the cursor.
  const page = before === undefined || after !== undefined ? rest.slice(0, limit) : rest.slice(-limit);
  return {
    data: page.map(renderModel),
    has_more: page.length < rest.length,
    first_id: page[0]?.id ?? null,
    last_id: page.at(-1)?.id ?? null,
  };
}

/** One model as the API shows it. */
export function renderModel({ id, label, description, maxInputTokens }: ServedModel): ModelView {
  return {
    type: 'model',
    id,
    display_name: label ?? displayName(id) ?? id,
    ...(description !== undefined && { description }),
    ...(maxInputTokens !== null && { max_input_tokens: maxInputTokens }),
  };
}

function parseLimit(limit: unknown): number {
  if (limit === undefined) return MAX_LIMIT;
  const number = typeof limit === 'string' && /^\d{1,6}$/.test(limit) ? Number(limit) : 0;
  if (number < 1 || number > MAX_LIMIT) throw invalid(`limit must be a number from 1 to ${MAX_LIMIT}.`);
  return number;
}

function positionOf(models: readonly ServedModel[], name: string, id: unknown): number | undefined {
  if (id === undefined) return undefined;
  const index = models.findIndex((model) => model.id === id);
  if (index === -1) throw invalid(`${name} must be the id of a model in this list.`);
  return index;
}

function invalid(message: string): ApiError {
  return new ApiError('invalid_request_error', message);
}
