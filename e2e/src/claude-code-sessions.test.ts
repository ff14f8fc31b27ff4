import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import type { Browser } from 'playwright-core';
import { startStack, type Stack } from './harness/stack.ts';
import { chromiumBinary, openBrowser } from './testbed/browser.ts';
import { ClaudeCode } from './testbed/claude-code.ts';
import { logIn } from './testbed/log-in.ts';
import { findProgram } from './testbed/programs.ts';
import { describeWith } from './testbed/requirements.ts';
import type { Terminal } from './testbed/terminal.ts';

const describeSessions = describeWith({ tmux: findProgram('tmux'), chromium: chromiumBinary() });

/** The client refreshes with everything it sends once its bearer has less than five minutes left. */
const TTL_HOURS = 0.05;

/** Long enough that nobody can take the second process for a repetition of the first one's request. */
const APART_MS = 35_000;

/** The client waits for a question. */
const READY = /for shortcuts|Try "|\n❯\s/;

/** Two processes of one developer share a credential store, and each keeps its own copy of the tokens. */
describeSessions('Claude Code in two terminals', () => {
  let stack: Stack;
  let browser: Browser;
  let machine: ClaudeCode;
  const terminals: Terminal[] = [];

  beforeAll(async () => {
    const session = {
      jwt_secret: 'a-secret-of-at-least-thirty-two-bytes-for-tests',
      ttl_hours: TTL_HOURS,
    };
    [stack, browser] = await Promise.all([startStack({ config: { session } }), openBrowser()]);
    machine = new ClaudeCode(stack.url, 'user settings');
  }, 120_000);

  afterAll(async () => {
    for (const terminal of terminals) terminal.stop();
    machine?.dispose();
    await browser?.close();
    await stack?.stop();
  }, 60_000);

  const audited = (event: string): Record<string, unknown>[] => stack.replicas[0]?.audit(event) ?? [];

  /** From wherever the client is to where one types, through the questions whose default is "No". */
  async function begin(terminal: Terminal): Promise<void> {
    const deadline = Date.now() + 60_000;
    for (let screen = ''; !READY.test(screen); screen = terminal.screen()) {
      if (Date.now() > deadline) throw new Error(`the client does not begin; it shows:\n${screen}`);
      // The client may ask again after the restart that new settings lead to.
      if (screen.includes('❯ No, exit')) terminal.press('Up');
      else if (/Press Enter to continue|❯ Yes, I trust this folder/.test(screen)) terminal.press('Enter');
      await sleep(2000);
    }
  }

  /** Types a question and waits until the gateway has answered it. */
  async function ask(terminal: Terminal, question: string): Promise<void> {
    const answered = audited('inference').length;
    const deadline = Date.now() + 60_000;
    terminal.type(question);
    await terminal.waitFor(new RegExp(question));
    while (audited('inference').length === answered) {
      terminal.press('Enter');
      await sleep(1500);
      if (Date.now() > deadline) throw new Error(`no answer; the screen shows:\n${terminal.screen()}`);
    }
    expect(audited('inference').at(-1)).toMatchObject({ email: 'alice@corp.example', status: 200 });
    expect(terminal.screen()).not.toMatch(/run \/login/i);
  }

  it('stays signed in, although each refreshes with a token that the other has had replaced', async () => {
    const first = await logIn(machine, 'alice', { site: stack, browser });
    terminals.push(first);
    await begin(first);
    const second = machine.open();
    terminals.push(second);
    await begin(second);
    await ask(first, 'one from the first');
    await ask(second, 'two from the second');
    await sleep(APART_MS);
    await ask(first, 'three from the first');
    await ask(second, 'four from the second');
    expect(audited('session.refresh').filter(({ result }) => result === 'success').length).toBeGreaterThan(2);
    expect(audited('session.revoke')).toEqual([]);
    expect(audited('session.mint')).toHaveLength(1);
  }, 280_000);
});
