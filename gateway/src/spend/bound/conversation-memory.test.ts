import { describe, expect, it } from '@jest/globals';
import { PROMPT_OVERHEAD } from './body-bound.ts';
import { conversationOf, createConversationMemory } from './conversation-memory.ts';
import { boundRequest } from './testing/bound-request.ts';
import { seededBelow } from '../../testing/random.ts';

interface Block {
  type: string;
  [member: string]: unknown;
}

interface Message {
  role: string;
  content: string | Block[];
}

interface Body {
  model: string;
  messages: Message[];
  system: Block[];
  tools: Record<string, unknown>[];
  metadata: Record<string, unknown>;
  max_tokens: number;
  [member: string]: unknown;
}

const text = (value: string): Block => ({ type: 'text', text: value });

/** A conversation of this many turns, as Claude Code writes it. */
function conversation(turns: number): Body {
  const messages: Message[] = [{ role: 'user', content: [text('please look at this')] }];
  for (let turn = 0; turn < turns; turn++) {
    messages.push(
      {
        role: 'assistant',
        content: [
          { type: 'thinking', thinking: 'so much to think about '.repeat(10), signature: 'c2ln'.repeat(40) },
          { type: 'tool_use', id: `toolu_${turn}`, name: 'Read', input: { path: `a/${turn}` } },
        ],
      },
      {
        role: 'user',
        content: [
          { type: 'tool_result', tool_use_id: `toolu_${turn}`, content: 'const a = "b";\n'.repeat(100) },
        ],
      },
    );
  }
  return {
    model: 'm',
    messages,
    system: [text('header: abc;'), text('be helpful. '.repeat(100))],
    tools: [{ name: 'Read', description: 'reads a file '.repeat(50), input_schema: { type: 'object' } }],
    metadata: { user_id: 'somebody' },
    max_tokens: 100,
  };
}

function withCacheMark(body: Body): Body {
  const copy = structuredClone(body);
  const content = copy.messages.at(-1)?.content;
  const last = Array.isArray(content) ? content.at(-1) : undefined;
  if (last !== undefined) last['cache_control'] = { type: 'ephemeral' };
  return copy;
}

/**
 * What an upstream would measure: text at four bytes a token where it is of the letter a, and one where it is not;
 * images at a price of their own; thinking only where it is current, unless a setting keeps it; what is deferred or no prompt, not at all.
 */
function measure(body: Body): number {
  const system = sum(body.system, ({ type, text: written }) => (type === 'text' ? tokens(written) : 0));
  const format = body['output_config'] === undefined ? 0 : tokens(JSON.stringify(body['output_config']));
  const tools = sum(body.tools, (tool) =>
    tool['defer_loading'] === true ? 0 : tokens(JSON.stringify(tool)),
  );
  const keepsThinking = body['thinking'] !== undefined;
  const current = body.messages.findLastIndex(
    ({ role, content }) =>
      role === 'user' && !(Array.isArray(content) && content.some(({ type }) => type === 'tool_result')),
  );
  return (
    300 +
    system +
    format +
    tools +
    sum(body.messages, ({ content }, i) =>
      typeof content === 'string'
        ? 3 + tokens(content)
        : 3 + sum(content, (b) => blockTokens(b, keepsThinking || i > current)),
    )
  );
}

function blockTokens(block: Block, thinkingCounts: boolean): number {
  switch (block.type) {
    case 'text':
      return tokens(block['text']);
    case 'image':
      return 4700;
    case 'thinking':
      return thinkingCounts ? tokens(block['thinking']) : 0;
    case 'tool_use':
      return tokens(JSON.stringify(block['input']));
    case 'tool_result': {
      const { content } = block;
      return Array.isArray(content)
        ? sum(content as Block[], (inner) => blockTokens(inner, false))
        : tokens(content);
    }
    default:
      return 0;
  }
}

function tokens(value: unknown): number {
  const written = typeof value === 'string' ? value : '';
  const runs = written.match(/a+/g) ?? [];
  return (
    Buffer.byteLength(written) -
    sum(runs, (run) => run.length) +
    sum(runs, (run) => Math.ceil(run.length / 4))
  );
}

function sum<T>(items: readonly T[], of: (item: T, index: number) => number): number {
  return items.reduce((total, item, i) => total + of(item, i), 0);
}

function learned(from: Body, next: Body, inputTokens = measure(from)): number | undefined {
  const memory = createConversationMemory();
  memory.remember('c', boundRequest(from), inputTokens);
  return memory.promptTokens('c', boundRequest(next));
}

describe('a conversation that goes on', () => {
  it('costs what was measured and its new bytes', () => {
    const last = conversation(20);
    const next = structuredClone(conversation(21));
    const before = Buffer.byteLength(JSON.stringify(last.messages));
    const after = Buffer.byteLength(JSON.stringify(next.messages));
    const openThinking = 20 * Buffer.byteLength(JSON.stringify(last.messages[1]?.content[0]));
    // All messages of the last request are in the next one; its closing bracket is not.
    expect(learned(last, next, 1000)).toBe(1000 + PROMPT_OVERHEAD + (after - before) + 1 + openThinking);
  });

  it('loses no more than its last message when the mark for the cache moves on', () => {
    const last = withCacheMark(conversation(40));
    const next = withCacheMark(conversation(41));
    const whole = Buffer.byteLength(JSON.stringify(next));
    const bound = learned(last, next, 10_000) ?? Infinity;
    expect(bound).toBeLessThan(10_000 + whole / 3);
    expect(bound).toBeGreaterThanOrEqual(10_000);
  });

  it('may change the system prompt a little, and tools at the price of them all', () => {
    const last = conversation(20);
    const next = conversation(20);
    const same = learned(last, next, 1000) ?? 0;
    next.system[0] = text('header: xyz;');
    expect(learned(last, next, 1000)).toBeLessThan(same + 150);
    next.tools.push({ name: 'Write' });
    expect(learned(last, next, 1000)).toBeGreaterThan(same + Buffer.byteLength(JSON.stringify(next.tools)));
  });

  it('counts thinking again when it goes back to where that was current', () => {
    const last = conversation(30);
    last.messages.push({ role: 'user', content: 'and now something else' });
    const next = conversation(30);
    next.messages.push({ role: 'user', content: [{ type: 'tool_result', tool_use_id: 't', content: 'x' }] });
    next.messages.splice(-2, 1);
    expect(measure(next) - measure(last)).toBeGreaterThan(PROMPT_OVERHEAD);
    expect(learned(last, next)).toBeGreaterThanOrEqual(measure(next));
    const further = structuredClone(last);
    further.messages.push(...conversation(3).messages);
    expect(learned(further, next)).toBeGreaterThanOrEqual(measure(next));
  });

  it('is a bound that holds, whatever changes', () => {
    const random = seededBelow(20_261_123);
    const pick = <T>(items: readonly T[]): T => items[random(items.length)] as T;
    const words = (): string => pick(['a', 'b"', '\n', 'ü']).repeat(1 + random(5000));
    const block = (): Block =>
      pick([
        () => text(words()),
        () => ({ type: 'image', source: { type: 'base64', media_type: 'image/png', data: words() } }),
        () => ({ type: 'thinking', thinking: words(), signature: 's' }),
        () => ({ type: 'tool_use', id: 't', name: 'x', input: { data: words() } }),
        () => ({ type: 'tool_result', tool_use_id: 't', content: words() }),
        () => ({ type: 'tool_result', tool_use_id: 't', content: [block()] }),
        () => ({ type: 'ignored', data: words() }),
      ])();
    const message = (): Message =>
      random(5) === 0
        ? { role: 'user', content: words() }
        : { role: pick(['user', 'assistant']), content: Array.from({ length: 1 + random(3) }, block) };
    const edits: readonly ((body: Body) => void)[] = [
      (body) => body.messages.push(message()),
      (body) => body.messages.push(message(), message()),
      (body) => void body.messages.splice(random(body.messages.length + 1)),
      (body) => void body.messages.splice(random(body.messages.length + 1), random(2), message()),
      (body) => {
        // An image or anything else becomes text, its bytes unchanged.
        const { content } = pick(body.messages) ?? { content: '' };
        if (typeof content === 'string') return;
        const found = pick(content);
        const source = found?.['source'] as { data?: string } | undefined;
        const hidden = source?.data ?? found?.['data'] ?? found?.['thinking'];
        if (found !== undefined && typeof hidden === 'string')
          content.splice(content.indexOf(found), 1, text(hidden));
      },
      (body) => void (body.metadata = { user_id: words() }),
      (body) => {
        body.system.unshift(text(String(body.metadata['user_id'])));
        body.metadata = {};
      },
      (body) => void (body.system[0] = text(words())),
      (body) => void body.system.reverse(),
      (body) => void (body['output_config'] = { format: words() }),
      (body) => body.system.push({ type: 'none', text: words() }),
      (body) => body.system.forEach((part) => (part.type = 'text')),
      (body) => body.tools.push({ name: 'x', description: words(), defer_loading: random(2) === 0 }),
      (body) => {
        for (const tool of body.tools) delete tool['defer_loading'];
      },
      (body) => void (body['thinking'] = { type: 'adaptive' }),
    ];
    let useful = 0;
    for (let i = 0; i < 600; i++) {
      const last = conversation(random(4));
      for (let n = random(6); n > 0; n--) pick(edits)(last);
      const next = structuredClone(last);
      for (let n = 1 + random(3); n > 0; n--) pick(edits)(next);
      const bound = learned(last, next);
      if (bound === undefined) throw new Error('not remembered');
      if (bound < measure(next)) {
        throw new Error(`${bound} < ${measure(next)}\n${JSON.stringify(last)}\n${JSON.stringify(next)}`);
      }
      if (bound < Buffer.byteLength(JSON.stringify(next))) useful++;
    }
    expect(useful).toBeGreaterThan(100);
  });
});

describe('what is kept', () => {
  const body = conversation(3);

  it('is nothing where the upstream may count what does not stand there', () => {
    const refused: Partial<Body>[] = [
      {
        messages: [{ role: 'user', content: [{ type: 'document', source: { type: 'base64', data: 'x' } }] }],
      },
      { messages: [{ role: 'user', content: [{ type: 'image', source: { type: 'url', url: 'x' } }] }] },
      { messages: [{ role: 'user', content: [{ type: 'image', source: { file_id: 'x' } }] }] },
      { context_management: { edits: [{ type: 'clear_tool_uses_20250919' }] } },
      { context_management: { edits: [{ type: 'clear_thinking_20251015', keep: { value: 1 } }] } },
      { context_management: { edits: [{ type: 'compact_20260112' }] } },
    ];
    for (const change of refused) {
      expect(learned({ ...body, ...change }, body)).toBeUndefined();
      expect(learned(body, { ...body, ...change })).toBeUndefined();
    }
    const kept = { edits: [{ type: 'clear_thinking_20251015', keep: 'all' }] };
    expect(learned({ ...body, context_management: kept }, body)).toBeDefined();
  });

  it('is a copy of the last request of each conversation', () => {
    const memory = createConversationMemory();
    const request = boundRequest(body);
    memory.remember('c', request, 500);
    request.body.fill(0);
    expect(memory.promptTokens('c', boundRequest(body))).toBeLessThan(500 + PROMPT_OVERHEAD + 2000);
    expect(memory.promptTokens('d', boundRequest(body))).toBeUndefined();
    memory.remember('c', boundRequest(body), 700);
    const first = memory.promptTokens('c', boundRequest(body)) ?? 0;
    memory.remember('c', boundRequest(body), 900);
    expect(memory.promptTokens('c', boundRequest(body))).toBe(first + 200);
  });

  it('is limited in number and size, the least recently used first to go', () => {
    const knows = (memory: ReturnType<typeof createConversationMemory>): string =>
      ['a', 'b', 'c', 'd']
        .filter((key) => memory.promptTokens(key, boundRequest(body)) !== undefined)
        .join('');
    const few = createConversationMemory({ maxConversations: 2 });
    few.remember('a', boundRequest(body), 1);
    few.remember('b', boundRequest(body), 1);
    few.promptTokens('a', boundRequest(body));
    few.remember('c', boundRequest(body), 1);
    expect(knows(few)).toBe('ac');
    const size = boundRequest(body).body.length;
    const small = createConversationMemory({ maxBytes: 2 * size });
    for (const key of ['a', 'b', 'b', 'c', 'd']) small.remember(key, boundRequest(body), 1);
    expect(knows(small)).toBe('cd');
    small.remember('d', boundRequest(conversation(50)), 1);
    expect(knows(small)).toBe('c');
    small.remember('c', boundRequest(body), 0);
    expect(knows(small)).toBe('');
  });
});

it('conversationOf tells people, sessions, agents, models and betas apart', () => {
  const headers = { 'x-claude-code-session-id': 's', 'x-claude-code-agent-id': 'a', 'anthropic-beta': 'b' };
  const names = [
    conversationOf('u', headers, 'm'),
    conversationOf('v', headers, 'm'),
    conversationOf('u', { ...headers, 'x-claude-code-session-id': 't' }, 'm'),
    conversationOf('u', { ...headers, 'x-claude-code-agent-id': 'c' }, 'm'),
    conversationOf('u', { ...headers, 'anthropic-beta': 'c' }, 'm'),
    conversationOf('u', headers, 'n'),
  ];
  expect(new Set(names).size).toBe(names.length);
  expect(conversationOf('u', { 'x-claude-code-agent-id': 'a' }, 'm')).toBeUndefined();
});
