import { expect } from '@jest/globals';
import type { Browser, Page } from 'playwright-core';
import { screenshot } from './browser.ts';
import type { ClaudeCode } from './claude-code.ts';
import type { Terminal } from './terminal.ts';

/** Where somebody signs in: the gateway, and the identity provider that it sends people to. */
export interface SignInSite {
  readonly url: string;
  readonly identityProvider: { readonly issuer: string };
}

/** Somebody, and how they tell the page of their identity provider who they are. */
export interface Person {
  readonly email: string;
  identify(page: Page): Promise<void>;
}

/** Somebody whom the development identity provider knows. */
function developer(name: string): Person {
  return {
    email: `${name}@corp.example`,
    identify: (page) => page.locator(`button[name=user][value=${name}]`).click(),
  };
}

/**
 * From the first start of the client to "Connected", as a person does it.
 *
 * @param who A person, or the name of one whom the development identity provider knows.
 * @returns the client's terminal.
 */
export async function logIn(
  machine: ClaudeCode,
  who: string | Person,
  { site, browser }: { site: SignInSite; browser: Browser },
): Promise<Terminal> {
  const person = typeof who === 'string' ? developer(who) : who;
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
  person: Person,
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
  const email = person.email.replaceAll('.', '\\.');
  await terminal.waitFor(new RegExp(`Signed in to Cloud gateway as ${email}`));
  await terminal.pressUntil(['Up'], /❯ Yes, continue/);
  await terminal.pressUntil(['Enter'], /Connected to Cloud gateway/);
}

/** What happens in the browser: compare the code, continue, say who one is, read that it worked. */
async function approve(
  code: string,
  person: Person,
  { site, browser }: { site: SignInSite; browser: Browser },
): Promise<void> {
  const [name] = person.email.split('@');
  const context = await browser.newContext();
  const page = await context.newPage();
  await page.goto(`${site.url}/device?user_code=${code}`);
  expect(await page.getByText(code).count()).toBeGreaterThan(0);
  await screenshot(page, `login-1-confirm-${name}`);
  await page.locator('button[name=provider]').click();
  await page.waitForURL(`${site.identityProvider.issuer}/**`);
  await screenshot(page, `login-2-identity-provider-${name}`);
  await person.identify(page);
  await page.waitForURL(`${site.url}/**`);
  await screenshot(page, `login-3-signed-in-${name}`);
  expect(await page.locator('h1').innerText()).toBe('You are signed in');
  await context.close();
}
