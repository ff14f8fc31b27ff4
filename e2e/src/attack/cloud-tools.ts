import type { AskedBody } from './cloud-bill.ts';

/** A tool that runs at the cloud, or may. */
export interface ToolAsked {
  readonly type: string;
  readonly model: string;
  readonly maxUses: number;
}

export const WEB_SEARCH = /^web_search_\d{8}$/;
export const ADVISOR = /^advisor_\d{8}$/;
/** What the cloud runs itself. */
export const AT_WORK = /^(?:web_search|advisor)_\d{8}$/;
/** Searches and consultations that the cloud does in one answer, whatever is asked. */
export const MOST_ROUNDS = 10;

export function toolsOf({ tools }: AskedBody): ToolAsked[] {
  if (!Array.isArray(tools)) return [];
  return (tools as unknown[]).flatMap((tool) => {
    if (typeof tool !== 'object' || tool === null) return [];
    const { type, model, max_uses: uses } = tool as Record<string, unknown>;
    const maxUses = typeof uses === 'number' && uses >= 1 ? uses : MOST_ROUNDS;
    return typeof type === 'string' ? [{ type, model: typeof model === 'string' ? model : '', maxUses }] : [];
  });
}
