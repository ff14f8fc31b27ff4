import type { ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { costOf, NO_TOKENS, usageOf, type AskedBody, type Bill, type BilledSampling } from './cloud-bill.ts';
import { errorOf, sendJson, type Conduct } from './cloud-conduct.ts';
import { ADVISOR, MOST_ROUNDS, toolsOf, WEB_SEARCH } from './cloud-tools.ts';

export interface AnswerTask {
  readonly body: AskedBody;
  /** Grows as the answer is written. */
  readonly bill: Bill;
  readonly conduct: Conduct;
  readonly response: ServerResponse;
  readonly headers: Record<string, string>;
}

/** A cloud does not notice at once that nobody listens any more. */
const PIECES_AFTER_HANG_UP = 2;
/** What a search brings into the conversation, and what an advisor writes. Both mostly less. */
const TOKENS_PER_SEARCH = 6_000;
const TOKENS_PER_ADVICE = 900;
const CHINESE = '花费要准确一分也不能少';
const ENGLISH = 'word';

/** Writes one answer as its conduct has it, and keeps the bill. Returns when nothing more is billed. */
export async function writeAnswer(task: AnswerTask): Promise<void> {
  const { bill, conduct, response, body } = task;
  response.once('close', () => {
    if (bill.end === 'open') bill.costWhenGone = costOf(bill);
  });
  await sleep(conduct.delayMs ?? 0);
  const { fault } = conduct;
  if (typeof fault === 'object') {
    bill.samplings.length = 0;
    bill.end = 'refused';
    sendJson(response, fault.status, errorOf('api_error', 'as planned'), task.headers);
    return;
  }
  if (fault === 'stall') {
    // What it has read is billed; it writes nothing, ever.
    bill.end = 'broken';
    return;
  }
  if (fault === 'break before the first byte') {
    const main = bill.samplings[0] as BilledSampling;
    for (const work of workOf(task)) work();
    if (body.stream !== true) write(main, Math.min(Number(body.max_tokens), conduct.output ?? 100));
    bill.end = 'broken';
    response.destroy();
    return;
  }
  if (fault === 'break behind the headers') {
    bill.end = 'broken';
    response.writeHead(200, { 'content-type': 'text/event-stream', ...task.headers });
    response.flushHeaders();
    await sleep(30);
    response.destroy();
    return;
  }
  bill.end = (await (body.stream === true ? writeStream(task) : writeDocument(task))) ? 'whole' : 'broken';
}

/** @returns whether it went out whole. */
async function writeStream(task: AnswerTask): Promise<boolean> {
  const { bill, conduct, response, headers } = task;
  const { pieces = 4, pieceMs = 0, fault } = conduct;
  const main = bill.samplings[0] as BilledSampling;
  const emit = (event: { type: string; [member: string]: unknown }): void => {
    if (!response.destroyed) response.write(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
  };
  const usage = (): object => said(conduct, finalUsage(bill));
  let index = 0;
  const block = (content: object, then: () => void = () => undefined): void => {
    emit({ type: 'content_block_start', index, content_block: content });
    then();
    emit({ type: 'content_block_stop', index: index++ });
  };

  response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', ...headers });
  emit({
    type: 'message_start',
    message: {
      ...messageOf(bill, main.model),
      ...said(conduct, { ...usageOf(main.tokens), output_tokens: 1 }),
    },
  });
  const { thinking, text } = wantedOutput(task);
  let afterHangUp = PIECES_AFTER_HANG_UP;
  const mayGoOn = async (): Promise<boolean> => {
    if (pieceMs > 0 || response.destroyed) await sleep(pieceMs);
    return !response.destroyed || afterHangUp-- > 0;
  };
  if (thinking > 0) {
    const isSaid = conduct.silent !== true;
    if (isSaid) {
      emit({
        type: 'content_block_start',
        index,
        content_block: { type: 'thinking', thinking: '', signature: '' },
      });
    }
    for (const part of inParts(thinking, pieces)) {
      if (!(await mayGoOn())) return false;
      write(main, part);
    }
    if (isSaid) {
      emit({
        type: 'content_block_delta',
        index,
        delta: { type: 'signature_delta', signature: 'c2lnbmVk' },
      });
      emit({ type: 'content_block_stop', index: index++ });
    }
  }
  for (const work of workOf(task)) {
    if (!(await mayGoOn())) return false;
    work();
    const name = bill.samplings.length > 1 ? 'advisor' : 'web_search';
    block({ type: 'server_tool_use', id: `srvtoolu_${index}`, name, input: {} });
    block({ type: `${name}_tool_result`, tool_use_id: `srvtoolu_${index - 1}`, content: [] });
  }
  emit({ type: 'content_block_start', index, content_block: { type: 'text', text: '' } });
  const parts = inParts(text, pieces);
  for (const [at, part] of parts.entries()) {
    if (!(await mayGoOn())) return false;
    if (at >= parts.length / 2 && fault === 'reset in the middle') {
      response.socket?.resetAndDestroy();
      return false;
    }
    if (at >= parts.length / 2 && fault === 'break in the middle') {
      response.socket?.destroySoon();
      return false;
    }
    write(main, part);
    emit({ type: 'content_block_delta', index, delta: { type: 'text_delta', text: textOf(conduct, part) } });
  }
  emit({ type: 'content_block_stop', index });
  emit({ type: 'message_delta', delta: { stop_reason: 'end_turn', stop_sequence: null }, ...usage() });
  emit({ type: 'message_stop' });
  if (response.destroyed) return false;
  response.end();
  return true;
}

/** @returns whether it went out whole. */
async function writeDocument(task: AnswerTask): Promise<boolean> {
  const { bill, conduct, response, headers } = task;
  const { pieces = 4, pieceMs = 0, fault } = conduct;
  const main = bill.samplings[0] as BilledSampling;
  const { thinking, text } = wantedOutput(task);
  let afterHangUp = PIECES_AFTER_HANG_UP;
  for (const work of workOf(task)) work();
  for (const part of inParts(thinking + text, pieces)) {
    if (pieceMs > 0 || response.destroyed) await sleep(pieceMs);
    if (response.destroyed && afterHangUp-- <= 0) return false;
    write(main, part);
  }
  if (response.destroyed) return false;
  if (fault === 'break in the middle' || fault === 'reset in the middle') {
    response.writeHead(200, { 'content-type': 'application/json', ...headers });
    response.write('{"type":"message","role":"assistant","content":[{"type":"text","text":"half');
    await sleep(20);
    if (fault === 'reset in the middle') response.socket?.resetAndDestroy();
    else response.destroy();
    return false;
  }
  sendJson(
    response,
    200,
    {
      ...messageOf(bill, main.model),
      content: [{ type: 'text', text: textOf(conduct, text) }],
      stop_reason: 'end_turn',
      ...said(conduct, finalUsage(bill)),
    },
    headers,
  );
  return true;
}

/** Tokens that are written behind `max_tokens`. */
function wantedOutput({ conduct, body }: AnswerTask): { thinking: number; text: number } {
  const most = Math.min(Number(body.max_tokens), conduct.output ?? 100);
  const thinking = Math.min(most, conduct.hiddenThinking ?? 0);
  return { thinking, text: most - thinking };
}

/** What runs at the upstream before the text: each search reads the conversation again, each advisor has its own price. */
function workOf({ bill, conduct, body }: AnswerTask): (() => void)[] {
  const tools = toolsOf(body);
  const main = bill.samplings[0] as BilledSampling;
  const search = tools.find(({ type }) => WEB_SEARCH.test(type));
  const advisor = tools.find(({ type }) => ADVISOR.test(type));
  const searches = search === undefined ? 0 : Math.min(conduct.searches ?? 0, search.maxUses, MOST_ROUNDS);
  const advices =
    advisor === undefined ? 0 : Math.min(conduct.consultations ?? 0, advisor.maxUses, MOST_ROUNDS);
  const prompt = main.tokens;
  let brought = 0;
  return [
    ...Array.from({ length: searches }, () => () => {
      brought += TOKENS_PER_SEARCH;
      const { tokens } = main;
      const read = prompt.input + prompt.cacheWrite5m + prompt.cacheWrite1h + brought;
      main.tokens = { ...tokens, input: tokens.input + read, webSearches: tokens.webSearches + 1 };
    }),
    ...Array.from({ length: advices }, () => () => {
      const read = prompt.input + prompt.cacheWrite5m + prompt.cacheWrite1h;
      bill.samplings.push({
        model: advisor?.model ?? '',
        tokens: { ...NO_TOKENS, input: read, output: TOKENS_PER_ADVICE },
      });
    }),
  ];
}

function write(sampling: BilledSampling, tokens: number): void {
  sampling.tokens = { ...sampling.tokens, output: sampling.tokens.output + tokens };
}

function textOf({ language }: Conduct, tokens: number): string {
  if (language !== 'chinese') return ENGLISH.repeat(tokens);
  return CHINESE.repeat(Math.ceil(tokens / CHINESE.length)).slice(0, tokens);
}

function inParts(total: number, parts: number): number[] {
  const size = Math.max(1, Math.ceil(total / parts));
  const sizes: number[] = [];
  for (let left = total; left > 0; left -= size) sizes.push(Math.min(size, left));
  return sizes;
}

function messageOf({ number }: Bill, model: string): object {
  return { id: `msg_${number}`, type: 'message', role: 'assistant', model, content: [], stop_reason: null };
}

/** The top level counts the model that was asked; what others were asked stands in `iterations` only. */
function finalUsage({ samplings, inOnePlace }: Bill): object {
  const [main, ...others] = samplings as [BilledSampling, ...BilledSampling[]];
  return {
    ...usageOf(main.tokens),
    ...(inOnePlace ? { inference_geo: 'us' } : {}),
    ...(others.length === 0
      ? {}
      : {
          iterations: [
            { type: 'message', model: main.model, ...usageOf(main.tokens) },
            ...others.map(({ model, tokens }) => ({ type: 'advisor_message', model, ...usageOf(tokens) })),
          ],
        }),
  };
}

function said({ usage }: Conduct, truth: object): { usage?: unknown } {
  if (usage === undefined) return { usage: truth };
  return usage === 'omit' ? {} : { usage: usage.says };
}
