import { afterAll, beforeAll, expect, it } from '@jest/globals';
import type { Browser } from 'playwright-core';
import { runGateway } from './harness/gateway-process.ts';
import { startStack, type Stack } from './harness/stack.ts';
import { chromiumBinary, openBrowser } from './testbed/browser.ts';
import { canUseManagedSettings, ClaudeCode } from './testbed/claude-code.ts';
import { logIn } from './testbed/log-in.ts';
import { findProgram } from './testbed/programs.ts';
import { describeWith } from './testbed/requirements.ts';
import type { Terminal } from './testbed/terminal.ts';

const describeLogin = describeWith({ tmux: findProgram('tmux'), chromium: chromiumBinary() });

const POLICIES = [
  {
    match: { groups: ['contractors'] },
    cli: { availableModels: ['claude-haiku-4-5'], permissions: { deny: ['Bash'] } },
  },
  { match: {}, cli: { permissions: { deny: ['Write'] }, env: { FROM_THE_GATEWAY: 'yes' } } },
];

/**
 * The real client, untouched, on a real terminal; a real browser; a real identity provider: the whole of `/login`, and
 * what follows from it.
 */
describeLogin('Claude Code, signing in through the gateway', () => {
  let stack: Stack;
  let browser: Browser;
  const machines: ClaudeCode[] = [];
  const terminals: Terminal[] = [];

  beforeAll(async () => {
    [stack, browser] = await Promise.all([
      startStack({ config: { managed: { policies: POLICIES } } }),
      openBrowser(),
    ]);
  }, 120_000);

  afterAll(async () => {
    for (const terminal of terminals) terminal.stop();
    for (const machine of machines) machine.dispose();
    await browser?.close();
    await stack?.stop();
  }, 60_000);

  function newMachine(namedBy: ConstructorParameters<typeof ClaudeCode>[1]): ClaudeCode {
    const machine = new ClaudeCode(stack.url, namedBy);
    machines.push(machine);
    return machine;
  }

  async function signIn(machine: ClaudeCode, person: string): Promise<void> {
    terminals.push(await logIn(machine, person, { site: stack, browser }));
  }

  /** What the client's latest question offers the model to use. */
  function toolsOfLatestQuestion(): string[] {
    const questions = stack.upstream
      .requests()
      .map(({ json }) => (json as { tools?: { name: string }[] } | undefined)?.tools ?? [])
      .filter((tools) => tools.length > 0);
    return (questions.at(-1) ?? []).map(({ name }) => name);
  }

  it('connects when device management names the gateway, gets its settings, and is answered', async () => {
    const alice = newMachine(canUseManagedSettings() ? 'managed settings' : 'user settings');
    await signIn(alice, 'alice');
    const answer = await alice.print('say hello');
    expect(answer).toMatchObject({ code: 0, result: { is_error: false } });
    expect(answer.result?.result).not.toBe('');

    const [gateway] = stack.replicas;
    expect(gateway?.audit('session.mint').at(-1)).toMatchObject({ email: 'alice@corp.example' });
    expect(gateway?.audit('managed.serve').at(-1)).toMatchObject({ email: 'alice@corp.example' });
    expect(gateway?.audit('inference').at(-1)).toMatchObject({ email: 'alice@corp.example' });
    // The settings are obeyed: what they deny is not even offered.
    expect(toolsOfLatestQuestion()).toContain('Bash');
    expect(toolsOfLatestQuestion()).not.toContain('Write');
  }, 180_000);

  it('is held to the model of its group, in words that a person understands', async () => {
    const bob = newMachine('user settings');
    await signIn(bob, 'bob');

    const allowed = await bob.print('say hello', ['--model', 'claude-haiku-4-5']);
    expect(allowed).toMatchObject({ code: 0, result: { is_error: false } });
    expect(toolsOfLatestQuestion()).toContain('Read');
    expect(toolsOfLatestQuestion()).not.toContain('Bash');
    expect(toolsOfLatestQuestion()).not.toContain('Write');

    const refused = await bob.print('say hello', ['--model', 'claude-opus-4-8']);
    expect(refused).toMatchObject({ code: 1, result: { is_error: true } });
    // The client itself may swap a model that it knows it cannot have for its default.
    expect(refused.result?.result).toMatch(
      /400 The model claude-opus-[\d-]+ is not available to you .*claude-haiku-4-5/,
    );
  }, 180_000);

  it('is asked to sign in again once its session is revoked', async () => {
    const carol = newMachine('user settings');
    await signIn(carol, 'carol');
    expect(await carol.print('say hello')).toMatchObject({ code: 0 });

    const [gateway] = stack.replicas;
    const revoked = await runGateway([
      'revoke',
      '--config',
      gateway?.configPath ?? '',
      '--user',
      'carol@corp.example',
    ]);
    expect(revoked).toMatchObject({ code: 0 });

    const refused = await carol.print('say hello again');
    expect(refused.code).toBe(1);
    expect(refused.stderr).toMatch(/no longer accepts this session.*sign in again with \/login/);
  }, 180_000);
});
