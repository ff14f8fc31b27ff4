import { valueAt, type BoundPart, type BoundRequest, type MemberSpan } from './request.ts';

/** A tool that runs at the upstream. */
export interface ServerTool {
  /** Where it stands, for people: `tools.3`. */
  readonly path: string;
  /** As the request spells it (`web_search_20250305`); empty when it is no text. */
  readonly type: string;
  /** `consult`: it asks a model, or is not known and may. */
  readonly kind: 'web_search' | 'data' | 'consult';
  /** `max_uses`, a whole number from 1 on; undefined where the upstream's own limit applies. */
  readonly maxUses: number | undefined;
  /** Where `max_uses` stands; undefined when it is missing. */
  readonly maxUsesAt: MemberSpan | undefined;
  /** Whether it says which model it asks. */
  readonly namesModel: boolean;
  /** The most that one consultation answers, in tokens; undefined where the model's own limit applies. */
  readonly maxTokens: number | undefined;
}

/** What tools that run at the upstream may add to a request. */
export interface ServerWork {
  /** How often the model may be sampled again, with what the tools brought as input. */
  readonly rounds: number;
  readonly webSearches: number;
  /** How often a model of its own may answer. */
  readonly consultations: number;
  /** What those answers have at most, in tokens, all of them together. */
  readonly consultedTokens: number;
  /**
   * How often it may search the web, where the upstream does nothing else for it, and results come as they are found:
   * not filtered by code that the model writes. 0 otherwise.
   */
  readonly plainSearches: number;
}

const NONE: ServerWork = {
  rounds: 0,
  webSearches: 0,
  consultations: 0,
  consultedTokens: 0,
  plainSearches: 0,
};

/** The upstream ends a response after ten rounds of server tools (`pause_turn`); one more, to be safe. */
export const MOST_ROUNDS = 11;
/** Searches of a request that sets no `max_uses`: five in each of ten rounds. */
const DEFAULT_WEB_SEARCHES = 50;
/** Larger numbers of uses are taken for this one, which is beyond what any request can do. */
const MOST_USES = 1_000_000;
/** The most that any model answers; also for bodies without a usable `max_tokens`, which upstreams refuse. */
export const MOST_OUTPUT = 128_000;

const WORST: ServerWork = {
  rounds: 2 * MOST_ROUNDS,
  webSearches: DEFAULT_WEB_SEARCHES,
  consultations: MOST_ROUNDS,
  consultedTokens: MOST_ROUNDS * MOST_OUTPUT,
  plainSearches: 0,
};

const OPEN_BRACKET = 0x5b;
/** As `null` begins. */
const LOWER_N = 0x6e;

/** Tools that Anthropic defines and the client runs. */
const CLIENT_TOOL =
  /^(?:custom|(?:bash|text_editor|computer|memory|browser_toolset|computer_toolset)_\d{8})$/;
const WEB_SEARCH = /^web_search_\d{8}$/;
const PLAIN_WEB_SEARCH = 'web_search_20250305';
/** Tools at the upstream that bring data. Of any other it is taken that a model is asked. */
const DATA_TOOL = /^(?:web_fetch|code_execution|tool_search_tool_(?:regex|bm25))_\d{8}$|^mcp_toolset$/;
const DATED = /_\d{8}$/;

/** The server tools of a request, wherever it defines them. */
export function serverToolsOf({ body, tools }: Pick<BoundRequest, 'body' | 'tools'>): readonly ServerTool[] {
  const found: ServerTool[] = [];
  for (const part of tools) {
    const type = typeOf(body, part);
    if (CLIENT_TOOL.test(type) || !mayBeTool(part, type)) continue;
    const { max_uses: maxUsesAt, max_tokens: maxTokensAt } = part.members;
    found.push({
      path: part.path,
      type,
      kind: WEB_SEARCH.test(type) ? 'web_search' : DATA_TOOL.test(type) ? 'data' : 'consult',
      maxUses: countAt(body, maxUsesAt, MOST_USES),
      maxUsesAt,
      namesModel: part.members.model !== undefined,
      maxTokens: countAt(body, maxTokensAt, MOST_OUTPUT),
    });
  }
  return found;
}

/** Web searches whose number is limited, so that the limit can be lowered. */
export interface LimitedSearches {
  /** The largest `max_uses` of them. */
  readonly uses: number;
  /** The `max_uses` of each, and where it stands. */
  readonly limits: readonly { readonly uses: number; readonly span: MemberSpan }[];
}

/** Undefined where there are none. */
export function limitedSearchesOf(request: BoundRequest): LimitedSearches | undefined {
  if (request.tools.length === 0) return undefined;
  const limits = serverToolsOf(request).flatMap(({ kind, maxUses: uses, maxUsesAt: span }) =>
    kind !== 'web_search' || uses === undefined || span === undefined ? [] : [{ uses, span }],
  );
  if (limits.length === 0) return undefined;
  return { uses: limits.reduce((most, { uses }) => Math.max(most, uses), 0), limits };
}

/**
 * What all server tools of a request, and the servers that it connects the upstream to, may do.
 *
 * @param mostSearches To what each limit of web searches is lowered.
 */
export function serverWorkOf(request: BoundRequest, mostSearches = Infinity): ServerWork {
  const remote = connectsServers(request);
  if (isUnreadable(request)) return WORST;
  if (!remote && request.tools.length === 0) return NONE;
  let rounds = remote ? MOST_ROUNDS : 0;
  let webSearches = 0;
  let consultations = 0;
  let consultedTokens = 0;
  let plainSearches = 0;
  let isPlain = !remote;
  for (const { kind, type, maxUses: limit, maxTokens } of serverToolsOf(request)) {
    const maxUses = kind === 'web_search' && limit !== undefined ? Math.min(limit, mostSearches) : limit;
    const uses = Math.min(maxUses ?? MOST_ROUNDS, MOST_ROUNDS);
    rounds += uses;
    isPlain &&= type === PLAIN_WEB_SEARCH && maxUses !== undefined;
    plainSearches += maxUses ?? 0;
    if (kind === 'web_search') webSearches += maxUses ?? DEFAULT_WEB_SEARCHES;
    if (kind === 'consult') {
      consultations += uses;
      consultedTokens += uses * (maxTokens ?? MOST_OUTPUT);
    }
  }
  return {
    rounds: Math.min(rounds, MOST_ROUNDS) + Math.min(consultations, MOST_ROUNDS),
    webSearches: Math.min(webSearches, MOST_USES),
    consultations: Math.min(consultations, MOST_ROUNDS),
    consultedTokens: Math.min(consultedTokens, MOST_ROUNDS * MOST_OUTPUT),
    // With more than one in each round it is not known how many results a round adds.
    plainSearches: isPlain && plainSearches < MOST_ROUNDS ? plainSearches : 0,
  };
}

/** What looks like a tool in a message may be data; a server tool's type ends in a date. */
function mayBeTool({ path, members }: BoundPart, type: string): boolean {
  if (path === 'tool_definition') return DATED.test(type) || type === 'mcp_toolset';
  return members.type !== undefined;
}

function typeOf(body: Buffer, { members }: BoundPart): string {
  const type = valueAt(body, members.type);
  return typeof type === 'string' ? type : '';
}

/** A whole number from 1 to `most`; larger ones count as `most`. Undefined when there is none. */
function countAt(body: Buffer, span: MemberSpan | undefined, most: number): number | undefined {
  const value = valueAt(body, span);
  return typeof value === 'number' && value >= 1 ? Math.min(Math.ceil(value), most) : undefined;
}

/** Whether `mcp_servers` has anything in it. */
function connectsServers({ body, fields: { mcp_servers: span } }: BoundRequest): boolean {
  if (span === undefined) return false;
  return !/^(?:null|\[\s*\])$/.test(body.toString('latin1', span.start, Math.min(span.end, span.start + 64)));
}

/** Tools that are no list cannot be read here; the upstream refuses them, if it cannot read them either. */
function isUnreadable({ body, fields: { tools: span } }: BoundRequest): boolean {
  return span !== undefined && body[span.start] !== OPEN_BRACKET && body[span.start] !== LOWER_N;
}
