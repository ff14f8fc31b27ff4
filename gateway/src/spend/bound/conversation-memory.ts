import type { IncomingHttpHeaders } from 'node:http';
import { boundFromMeasured, isMeasurable, type MeasuredRequest } from './conversation.ts';
import type { BoundRequest } from './request.ts';

export interface ConversationMemoryOptions {
  /** Default 1000. */
  readonly maxConversations?: number;
  /** Of bodies, in all. Default 64 MiB. */
  readonly maxBytes?: number;
}

/** The last request of conversations that are short of budget, with what the upstream measured for it. */
export interface ConversationMemory {
  /**
   * Keeps a copy of the request in place of the conversation's last one; one that says nothing about the next is not
   * kept. The least recently used go first.
   *
   * @param inputTokens What the upstream counted as input in its complete response, of all kinds.
   */
  remember(conversation: string, request: BoundRequest, inputTokens: number): void;
  /**
   * Upper bound of the tokens that the body makes, for `withPromptTokens`. Parses the remembered body: some
   * milliseconds for a large one.
   *
   * @returns undefined when nothing is known.
   */
  promptTokens(conversation: string, request: BoundRequest): number | undefined;
}

const SESSION = 'x-claude-code-session-id';
const AGENT = 'x-claude-code-agent-id';

/**
 * Names the conversation that a request belongs to; undefined when it does not say.
 *
 * @param sub Of the principal: clients choose the rest, and are not to meet in it.
 * @param model The catalog's name: models count differently.
 */
export function conversationOf(sub: string, headers: IncomingHttpHeaders, model: string): string | undefined {
  const session = headers[SESSION];
  if (session === undefined) return undefined;
  // Betas may change what counts.
  return JSON.stringify([sub, session, headers[AGENT] ?? '', model, headers['anthropic-beta'] ?? '']);
}

export function createConversationMemory(options: ConversationMemoryOptions = {}): ConversationMemory {
  const { maxConversations = 1000, maxBytes = 64 * 1024 * 1024 } = options;
  /** The least recently used first. */
  const kept = new Map<string, MeasuredRequest>();
  let bytes = 0;

  const forget = (conversation: string): void => {
    bytes -= kept.get(conversation)?.request.body.length ?? 0;
    kept.delete(conversation);
  };

  return {
    remember(conversation, request, inputTokens) {
      forget(conversation);
      if (inputTokens <= 0 || request.body.length > maxBytes || !isMeasurable(request)) return;
      const { body, fields, words } = request;
      kept.set(conversation, {
        // Headers are not needed again, and the body's memory may be part of a larger piece.
        request: {
          body: Buffer.from(body),
          fields,
          words,
          tools: [],
          fallbacks: [],
          otherModels: [],
          headers: {},
        },
        inputTokens,
      });
      bytes += body.length;
      for (const oldest of kept.keys()) {
        if (bytes <= maxBytes && kept.size <= maxConversations) break;
        forget(oldest);
      }
    },
    promptTokens(conversation, request) {
      const measured = kept.get(conversation);
      if (measured === undefined || !isMeasurable(request)) return undefined;
      kept.delete(conversation);
      kept.set(conversation, measured);
      return boundFromMeasured(measured, request);
    },
  };
}
