import { expect } from '@jest/globals';
import type { Browser } from 'playwright-core';
import { screenshot } from './browser.ts';
import type { ClaudeCode } from './claude-code.ts';
import type { Terminal } from './terminal.ts';

/** Where somebody signs in: the gateway, and the identity provider that it sends people to. */
export interface SignInSite {
  readonly url: string;
  readonly identityProvider: { readonly issuer: string };
}

/** From the first start of the client to "Connected", as a person does it. @returns the client's terminal. */
export async function logIn(
  machine: ClaudeCode,
  person: string,
  { site, browser }: { site: SignInSite; browser: Browser },
): Promise<Terminal> {
  const terminal = machine.open();
  try {
    await connect(terminal, person, { site, browser });
    return terminal;
  } catch (error) {
    terminal.stop();
    throw error;
  }
}

async function connect(
  terminal: Terminal,
  person: string,
  { site, browser }: { site: SignInSite; browser: Browser },
): Promise<void> {
  await terminal.waitFor(/Choose the text style/);
  await terminal.pressUntil(['Enter'], /Enter to connect/);
  expect(terminal.screen()).toContain(site.url);
  await terminal.pressUntil(['Enter'], /Yes, trust this gateway/);
  await terminal.pressUntil(['Up'], /❯ Yes, trust this gateway/);
  const [, code = ''] = await terminal.pressUntil(['Enter'], /Code:\s+([A-Z]{4}-[A-Z]{4})/);
  await approve(code, person, { site, browser });
  // The account that approved comes back to the terminal: somebody tricked into another's sign-in notices here.
  await terminal.waitFor(new RegExp(`Signed in to Cloud gateway as ${person}@corp\\.example`));
  await terminal.pressUntil(['Up'], /❯ Yes, continue/);
  await terminal.pressUntil(['Enter'], /Connected to Cloud gateway/);
}

/** What happens in the browser: compare the code, continue, pick who to be, read that it worked. */
async function approve(
  code: string,
  person: string,
  { site, browser }: { site: SignInSite; browser: Browser },
): Promise<void> {
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(`${site.url}/device?user_code=${code}`);
  expect(await page.getByText(code).count()).toBeGreaterThan(0);
  await screenshot(page, `login-1-confirm-${person}`);
  await page.locator('button[name=provider]').click();
  await page.waitForURL(`${site.identityProvider.issuer}/**`);
  await screenshot(page, `login-2-identity-provider-${person}`);
  await page.locator(`button[name=user][value=${person}]`).click();
  await page.waitForURL(`${site.url}/**`);
  await screenshot(page, `login-3-signed-in-${person}`);
  expect(await page.locator('h1').innerText()).toBe('You are signed in');
  await context.close();
}
