import { ApiError } from '../http/errors.ts';
import { readField, scanBody, type ScannedBody } from './body-scanner.ts';
import type { InferenceRequest } from './upstream.ts';

/** ARNs of inference profiles are the longest names, with some hundred bytes. */
const MAX_MODEL_BYTES = 4096;

/**
 * Finds the members that the gateway reads in the body that a client sent; the body stays as it came.
 *
 * @throws ApiError (400) for a body that is no JSON object, and for one that names such a member twice: parsers
 *   disagree on which of the two counts, so the policy could read one and the upstream the other. No client sends it.
 */
export function understand(body: Buffer): Pick<InferenceRequest, 'body' | 'fields' | 'words'> {
  const scan = scanBody(body);
  if (scan === 'invalid_json') throw invalidJson();
  if (scan === 'not_an_object') {
    throw new ApiError('invalid_request_error', 'The request body must be a JSON object.');
  }
  const { fields, words, doubled } = scan;
  if (doubled !== undefined) {
    throw new ApiError(
      'invalid_request_error',
      `${doubled}: the request body has this member twice; send it once.`,
    );
  }
  return { body, fields, words };
}

/**
 * The model that a request asks for, as the client spells it.
 *
 * @throws ApiError (400) when there is none, or it is no text.
 */
export function modelOf(body: Buffer, fields: ScannedBody['fields']): string {
  const model = fields.model === undefined ? undefined : readMember(body, fields.model);
  if (model === undefined || model === '') {
    throw new ApiError('invalid_request_error', 'The request body needs a model.');
  }
  if (typeof model !== 'string') throw new ApiError('invalid_request_error', 'model must be a string.');
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
    throw invalidJson();
  }
}

function invalidJson(): ApiError {
  return new ApiError('invalid_request_error', 'The request body is not valid JSON.');
}
