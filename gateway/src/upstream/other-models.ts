import { ApiError } from '../http/errors.ts';
import { spliced } from '../splice.ts';
import { readField, type RequestPart } from './body-scanner.ts';
import { MAX_MODEL_BYTES, understand, unknownMember, type UnderstoodBody } from './received-body.ts';
import type { OtherModel } from './upstream.ts';

/** Tools that ask a model which they name. */
const ADVISOR = /^advisor_\d{8}$/;
/** As the types of all tools that run at the upstream end. */
const DATED = /_\d{8}$/;

/** A model that a request names beside its own, and where. */
export type NamedModel = Pick<OtherModel, 'path' | 'span' | 'requested'>;

/**
 * The models that a request names beside its own: in tools that ask one, and as fallbacks.
 *
 * @throws ApiError (400) for a model that is no text, for one in a tool that is not known to ask one, and for a tool that asks one
 *   and does not say which.
 */
export function namedModelsOf({ body, tools, fallbacks }: UnderstoodBody): readonly NamedModel[] {
  if (tools.length === 0 && fallbacks.length === 0) return NONE;
  const named: NamedModel[] = [];
  for (const tool of tools) {
    const type = textOf(body, tool, 'type');
    // What looks like a tool in a message may be data that goes by the same name.
    if (tool.path === 'tool_definition' && !DATED.test(type ?? '')) continue;
    if (tool.namesModel !== undefined) throw unknownMember(tool.namesModel);
    if (tool.members.model === undefined) {
      if (type === undefined || !type.toLowerCase().startsWith('advisor')) continue;
      throw new ApiError(
        'invalid_request_error',
        `${tool.path}.model: this tool asks a model, and this gateway cannot check one that is not named; name it.`,
      );
    }
    if (type === undefined || !ADVISOR.test(type)) {
      throw new ApiError(
        'invalid_request_error',
        `${tool.path}.model: this gateway knows no tool of this type that asks a model, and cannot check it; leave it out.`,
      );
    }
    named.push(namedBy(body, tool));
  }
  for (const fallback of fallbacks)
    if (fallback.members.model !== undefined) named.push(namedBy(body, fallback));
  return named;
}

const NONE: readonly NamedModel[] = [];

/** Whether the upstream may choose another model by itself (`"fallbacks": "default"`). */
export function letsUpstreamChoose({ body, fields: { fallbacks: span } }: UnderstoodBody): boolean {
  if (span === undefined || body[span.start] === OPEN_BRACKET) return false;
  return body.toString('latin1', span.start, span.end) !== 'null';
}

const OPEN_BRACKET = 0x5b;

/** The same request, answered by the models that it names or not at all. */
export function withoutChoice(understood: UnderstoodBody): UnderstoodBody {
  const { body, fields } = understood;
  if (fields.fallbacks === undefined) return understood;
  return understand(spliced(body, [{ span: fields.fallbacks, text: 'null' }]));
}

/** The same models in a body that was changed somewhere else. */
export function relocated(models: readonly OtherModel[], understood: UnderstoodBody): readonly OtherModel[] {
  if (models.length === 0) return models;
  const named = namedModelsOf(understood);
  return models.map((model, i) => ({ ...model, span: named[i]?.span ?? model.span }));
}

function namedBy(body: Buffer, part: RequestPart): NamedModel {
  const span = part.members.model;
  const requested = textOf(body, part, 'model');
  if (span === undefined || requested === undefined || requested === '') {
    throw new ApiError('invalid_request_error', `${part.path}.model: must be the name of a model.`);
  }
  return { path: `${part.path}.model`, span, requested };
}

function textOf(body: Buffer, { members }: RequestPart, name: 'type' | 'model'): string | undefined {
  const span = members[name];
  if (span === undefined || span.end - span.start > MAX_MODEL_BYTES) return undefined;
  try {
    const value = readField(body, span);
    return typeof value === 'string' ? value : undefined;
  } catch {
    return undefined;
  }
}
