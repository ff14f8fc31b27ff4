import { ApiError } from '../http/errors.ts';
import { readField, SCAN_LIMITS, scanBody, type ScanFailure, type ScannedBody } from './body-scanner.ts';
import type { InferenceRequest } from './upstream.ts';

/** ARNs of inference profiles are the longest names, with some hundred bytes. */
export const MAX_MODEL_BYTES = 4096;

/** What the gateway knows of a body without having parsed it. */
export type UnderstoodBody = Pick<InferenceRequest, 'body' | 'fields' | 'words' | 'tools' | 'fallbacks'>;

/**
 * Finds the members that the gateway reads in the body that a client sent; the body stays as it came.
 *
 * @throws ApiError (400) for a body that is no JSON object, and for what no client sends: one beyond the scanner's
 *   limits, one that has such a member twice or in another spelling (parsers disagree on which of the two counts, so the
 *   policy could read one and the upstream the other), one with tools or fallbacks that cannot be read, and one with a member
 *   that may choose a model and is not known here.
 */
export function understand(body: Buffer): UnderstoodBody {
  const scan = scanBody(body);
  if (typeof scan === 'string') throw invalid(SCAN_FAILURES[scan]);
  const { fields, words, tools, fallbacks, doubled, misspelled, unreadable, namesModel } = scan;
  if (doubled !== undefined)
    throw invalid(`${doubled}: the request body has this member twice; send it once.`);
  if (misspelled !== undefined)
    throw invalid(`${misspelled}: the request body has this member in another spelling; write it like this.`);
  if (unreadable !== undefined) throw invalid(`${unreadable}: ${UNREADABLE}`);
  if (namesModel !== undefined) throw unknownMember(namesModel);
  return { body, fields, words, tools, fallbacks };
}

const UNREADABLE =
  'tools must be a list of objects, and fallbacks a list of objects that name one model each: this gateway cannot check anything else.';

const SCAN_FAILURES: Readonly<Record<ScanFailure, string>> = {
  invalid_json: 'The request body is not valid JSON.',
  not_an_object: 'The request body must be a JSON object.',
  too_deep: `The request body is nested deeper than this gateway takes (${SCAN_LIMITS.depth} levels).`,
  too_many_values: `The request body has more values than this gateway takes (${SCAN_LIMITS.values}).`,
  too_many_members: `The request body has more members than this gateway takes (${SCAN_LIMITS.topLevelMembers}, and ${SCAN_LIMITS.parts} tools that run at the upstream).`,
};

/**
 * The model that a request asks for, as the client spells it.
 *
 * @throws ApiError (400) when there is none, or it is no text.
 */
export function modelOf(body: Buffer, fields: ScannedBody['fields']): string {
  const model = fields.model === undefined ? undefined : readMember(body, fields.model);
  if (model === undefined || model === '') {
    throw invalid('The request body needs a model.');
  }
  if (typeof model !== 'string') throw invalid('model must be a string.');
  return model;
}

/** Whether the answer is to be a stream of events: only `true` asks for that. */
export function asksForStream(body: Buffer, { stream }: ScannedBody['fields']): boolean {
  return stream !== undefined && body.toString('latin1', stream.start, stream.end) === 'true';
}

function readMember(body: Buffer, span: NonNullable<ScannedBody['fields']['model']>): unknown {
  // Longer ones are no model's name, and not worth the memory that parsing takes.
  if (span.end - span.start > MAX_MODEL_BYTES) {
    throw new ApiError(
      'invalid_request_error',
      `model must be a string of at most ${MAX_MODEL_BYTES} bytes.`,
    );
  }
  try {
    return readField(body, span);
  } catch {
    throw invalid(SCAN_FAILURES.invalid_json);
  }
}

/** A member that may choose a model, in a place where none is known to. */
export function unknownMember(path: string): ApiError {
  return invalid(
    `${printable(path)}: this gateway does not know this member and cannot check the model in it; leave it out.`,
  );
}

function invalid(message: string): ApiError {
  return new ApiError('invalid_request_error', message);
}

/** Input of a stranger, fit for a sentence on a terminal. */
function printable(text: string): string {
  return text.replace(/\p{C}/gu, '\u{fffd}');
}
