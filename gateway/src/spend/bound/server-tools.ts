import { isObject, valueOf, type BoundRequest } from './request.ts';

/** What tools that run at the upstream may add to a request. */
export interface ServerWork {
  /** How often the model may be sampled again, with what the tools brought as input. */
  readonly rounds: number;
  readonly webSearches: number;
  /** How often a model of its own may answer, at any length. */
  readonly consultations: number;
}

const NONE: ServerWork = { rounds: 0, webSearches: 0, consultations: 0 };

/** The upstream ends a response after ten rounds of server tools (`pause_turn`); one more, to be safe. */
const MOST_ROUNDS = 11;
/** Searches of a request that sets no `max_uses`: five in each of ten rounds. */
const DEFAULT_WEB_SEARCHES = 50;

/** Tools that Anthropic defines and the client runs. */
const CLIENT_TOOL = /^(?:custom|(?:bash|text_editor|computer|memory)_\d{8})$/;
/** Tools at the upstream that bring data. Of any other (an advisor) it is taken that a model is asked. */
const DATA_TOOL =
  /^(?:web_search|web_fetch|code_execution|tool_search_tool_(?:regex|bm25))_\d{8}$|^mcp_toolset$/;
const DATED_TYPE = /_\d{8}"|\\u/;

/**
 * The server tools of a request. Their types end in a date (`web_search_20250305`), as those of some client tools do;
 * tools are only parsed when there is such a type, or an escape that could hide one.
 */
export function serverWorkOf(request: BoundRequest): ServerWork {
  const { body, fields } = request;
  const connected = valueOf(request, 'mcp_servers');
  const remote = Array.isArray(connected) ? connected.length > 0 : isObject(connected);
  const span = fields.tools;
  if (span === undefined || !mayHaveTypes(body, span.start, span.end)) {
    return remote ? { ...NONE, rounds: MOST_ROUNDS } : NONE;
  }
  const tools = valueOf(request, 'tools');
  // Tools that cannot be read are refused by the upstream, if it cannot read them either.
  if (!Array.isArray(tools)) {
    return { rounds: MOST_ROUNDS, webSearches: DEFAULT_WEB_SEARCHES, consultations: MOST_ROUNDS };
  }
  let rounds = remote ? MOST_ROUNDS : 0;
  let webSearches = 0;
  let consultations = 0;
  for (const tool of tools as unknown[]) {
    if (!isObject(tool) || typeof tool['type'] !== 'string' || CLIENT_TOOL.test(tool['type'])) continue;
    const uses = usesOf(tool['max_uses']);
    rounds += uses ?? MOST_ROUNDS;
    if (tool['type'].startsWith('web_search')) webSearches += uses ?? DEFAULT_WEB_SEARCHES;
    if (!DATA_TOOL.test(tool['type'])) consultations += uses ?? MOST_ROUNDS;
  }
  return {
    rounds: Math.min(rounds, MOST_ROUNDS) + Math.min(consultations, MOST_ROUNDS),
    webSearches,
    consultations: Math.min(consultations, MOST_ROUNDS),
  };
}

function usesOf(value: unknown): number | undefined {
  return typeof value === 'number' && value >= 1 ? Math.ceil(value) : undefined;
}

/** Whether a dated type may stand there. Looks for what both have and prose hardly has, before it looks closer. */
function mayHaveTypes(body: Buffer, start: number, end: number): boolean {
  const tools = body.subarray(start, end);
  if (!tools.includes('_20') && !tools.includes('\\u')) return false;
  return DATED_TYPE.test(tools.toString('latin1'));
}
