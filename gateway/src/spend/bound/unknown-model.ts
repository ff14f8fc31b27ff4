import { fallsBack } from './fallbacks.ts';
import { serverToolsOf } from './server-tools.ts';
import type { BoundRequest } from './request.ts';

/** Whether a request may be answered in part by a model that it does not name. */
export function asksUnknownModel(request: BoundRequest): boolean {
  if (fallsBack(request) && request.fallbacks.length === 0) return true;
  return (
    request.tools.length > 0 &&
    serverToolsOf(request).some(({ kind, namesModel }) => kind === 'consult' && !namesModel)
  );
}
