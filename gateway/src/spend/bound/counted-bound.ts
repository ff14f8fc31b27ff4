import { IMAGE_TOKENS, withPromptTokens, type BodyBound } from './body-bound.ts';
import type { BoundRequest } from './request.ts';

/**
 * The upstream calls its count an estimate that may be off by a small amount: a twentieth and 512 tokens are added to
 * it. It counts what tools do at the upstream not at all, which stays in the bound as it was.
 */
export function countedBound(
  bound: BodyBound,
  { words }: Pick<BoundRequest, 'words'>,
  count: number,
): BodyBound {
  // What an address answers may have grown by the time of the request itself. Images have a largest size.
  if (words.url > 0 && words.document > 0) return bound;
  const images = words.url > 0 ? words.image * IMAGE_TOKENS : 0;
  return withPromptTokens(bound, count + Math.ceil(count / 20) + 512 + images);
}
