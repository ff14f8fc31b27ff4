import { resolveModel } from '@claude-gateway/contract';
import { fallsBack } from './fallbacks.ts';
import { valueAt, valueOf, type BoundRequest } from './request.ts';

const SMALL_WINDOW = 200_000;
export const LARGE_WINDOW = 1_000_000;
/** The beta with which a model of the small window may have the large one. */
const LARGE_WINDOW_BETA = 'context-1m';

/**
 * The most tokens of input, or of output, that one sampling of a model can have: upstreams refuse what is longer.
 * Where it is not certain that the window is the small one, it is the large one.
 *
 * @param model The catalog's name.
 */
export function contextWindowOf(request: BoundRequest, model: string): number {
  if (!fallsBack(request)) return windowOf(request, model);
  if (request.fallbacks.length === 0) return LARGE_WINDOW;
  return Math.max(
    windowOf(request, model),
    ...request.fallbacks.map(({ members }) =>
      windowOf(request, String(valueAt(request.body, members.model))),
    ),
  );
}

function windowOf(request: BoundRequest, model: string): number {
  const known = resolveModel(model);
  if (known === undefined) return LARGE_WINDOW;
  const window = known.max_input_tokens ?? (known.supports_1m ? LARGE_WINDOW : SMALL_WINDOW);
  return window < LARGE_WINDOW && (known.supports_1m || asksForLargeWindow(request)) ? LARGE_WINDOW : window;
}

function asksForLargeWindow(request: BoundRequest): boolean {
  const header = request.headers['anthropic-beta'];
  if (header !== undefined && String(header).includes(LARGE_WINDOW_BETA)) return true;
  return (
    request.fields.anthropic_beta !== undefined &&
    JSON.stringify(valueOf(request, 'anthropic_beta') ?? LARGE_WINDOW_BETA).includes(LARGE_WINDOW_BETA)
  );
}
