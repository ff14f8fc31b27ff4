import { hasHiddenInput, IMAGE_TOKENS, withPromptTokens, type BodyBound } from './body-bound.ts';
import { fallsBack } from './fallbacks.ts';
import type { BoundRequest } from './request.ts';

/**
 * The upstream calls its count an estimate that may be off by a small amount: a twentieth and 512 tokens are added to
 * it. It counts what tools do at the upstream not at all, which stays in the bound as it was.
 *
 * @param count Of every byte of the body: what the upstream counted, and one token for each byte that it was not sent.
 */
export function countedBound(bound: BodyBound, request: BoundRequest, count: number): BodyBound {
  const { words } = request;
  // What an address answers may have grown by the time of the request itself. Images have a largest size.
  if ((words.url > 0 && words.document > 0) || hasHiddenInput(request)) return bound;
  const images = words.url > 0 ? words.image * IMAGE_TOKENS : 0;
  // Another model may make up to half as many tokens again of the same text.
  const others = fallsBack(request) ? Math.ceil(count / 2) : 0;
  return withPromptTokens(bound, count + Math.ceil(count / 20) + 512 + images + others);
}
