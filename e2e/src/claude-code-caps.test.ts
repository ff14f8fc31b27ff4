import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Browser } from 'playwright-core';
import { startStack, type Stack } from './harness/stack.ts';
import { chromiumBinary, openBrowser } from './testbed/browser.ts';
import { ClaudeCode } from './testbed/claude-code.ts';
import { logIn } from './testbed/log-in.ts';
import { findProgram } from './testbed/programs.ts';
import { describeWith } from './testbed/requirements.ts';
import type { Terminal } from './testbed/terminal.ts';

const describeCaps = describeWith({ tmux: findProgram('tmux'), chromium: chromiumBinary() });

const ADMIN_KEY = 'an-admin-key-of-at-least-thirty-two-characters';

/** The real client, untouched, under a cap: what a developer sees of it, from the first warning to the last word. */
describeCaps('Claude Code, under a cap', () => {
  let stack: Stack;
  let browser: Browser;
  let alice: ClaudeCode;
  let terminal: Terminal;

  beforeAll(async () => {
    [stack, browser] = await Promise.all([
      startStack({
        config: {
          admin: {
            write_keys: [{ id: 'test', key: ADMIN_KEY }],
            blocked_message: 'ask for more at https://go.corp.example/claude',
          },
        },
      }),
      openBrowser(),
    ]);
    alice = new ClaudeCode(stack.url, 'user settings');
    terminal = await logIn(alice, 'alice', { site: stack, browser });
  }, 180_000);

  afterAll(async () => {
    terminal?.stop();
    alice?.dispose();
    await browser?.close();
    await stack?.stop();
  }, 60_000);

  async function admin(path: string, body?: object): Promise<Record<string, unknown>> {
    const response = await fetch(`${stack.url}/v1/organizations/spend_limits${path}`, {
      headers: { 'x-api-key': ADMIN_KEY, 'content-type': 'application/json' },
      ...(body !== undefined && { method: 'POST', body: JSON.stringify(body) }),
    });
    const answer = (await response.json()) as Record<string, unknown>;
    if (!response.ok) throw new Error(JSON.stringify(answer));
    return answer;
  }

  /** Caps what alice may spend in a day. She is named by her address, in whatever letter case. */
  async function cap(cents: number): Promise<void> {
    const scope = { type: 'user', user_id: 'ALICE@corp.example' };
    await admin('', { scope, amount: String(cents), period: 'daily' });
    // Replicas hear of it within milliseconds.
    await sleep(1_000);
  }

  /** Waits until what was spent has been the same for a while: settled, that is. */
  async function spentCents(): Promise<number> {
    for (let before = -1; ;) {
      const { data } = (await admin('/effective?user_ids[]=alice&period[]=daily')) as {
        data: { period_to_date_spend: string }[];
      };
      const now = Number(data[0]?.period_to_date_spend ?? 0);
      if (now > 0 && now === before) return now;
      before = now;
      await sleep(500);
    }
  }

  function ask(question: string): void {
    terminal.type(question);
    terminal.press('Enter');
  }

  it('goes on while there is money, and is warned when three quarters are gone', async () => {
    for (let round = 0; round < 3; round++) {
      const answers = await Promise.all([1, 2, 3].map((n) => alice.print(`say hello ${n}`)));
      for (const answer of answers) expect(answer).toMatchObject({ code: 0, result: { is_error: false } });
    }
    const spent = await spentCents();
    await cap(Math.ceil(spent / 0.77));

    // Enter, but never on the screen that comes next: there it means no.
    while (!/Yes, I trust this folder/.test(terminal.screen())) {
      if (/Press Enter to continue/.test(terminal.screen())) terminal.press('Enter');
      await sleep(1_500);
    }
    await terminal.pressUntil(['Down'], /❯ Yes, I trust this folder/);
    terminal.press('Enter');
    await terminal.waitFor(/· Cloud gateway/);
    ask('say hello');
    await terminal.waitFor(/The development upstream heard/);
    await terminal.waitFor(/You've used (7[5-9]|8\d)% of your usage credits/);
  }, 180_000);

  it('shows dollars when it is asked', async () => {
    ask('/usage');
    await terminal.waitFor(/\$\d+\.\d\d \/ \$\d+\.\d\d spent today · Resets/);
    terminal.press('Escape');
  }, 60_000);

  it('says what is used up, when there is more, and what to do', async () => {
    await cap(1);
    ask('say hello once more');
    await terminal.waitFor(/spend limit reached · your daily limit of \$0\.01 is used up · resets/);
    await terminal.waitFor(/https:\/\/go\.corp\.example\/claude/);

    const blocked = await alice.print('say hello');
    expect(blocked).toMatchObject({ code: 1, result: { is_error: true } });
    expect(blocked.result?.result).toMatch(/^spend limit reached · /);
    const [gateway] = stack.replicas;
    expect(gateway?.audit('spend.blocked').at(-1)).toMatchObject({
      email: 'alice@corp.example',
      period: 'daily',
      cap_cents: '1',
    });
  }, 60_000);

  it('goes on at once when the cap is raised', async () => {
    await cap(10_000);
    expect(await alice.print('say hello')).toMatchObject({ code: 0, result: { is_error: false } });
  }, 60_000);
});
