import { mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { chromium, type Browser, type Page } from 'playwright-core';
import { findProgram } from './programs.ts';

const ARTIFACTS = resolve(import.meta.dirname, '../../artifacts');

/** Chromium asks its maker's servers for this and that by itself; tests want silence. */
const QUIET = [
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-default-apps',
  '--disable-domain-reliability',
  '--disable-gpu',
  '--disable-quic',
  '--disable-sync',
  '--metrics-recording-only',
  '--no-first-run',
  '--no-pings',
];

/** The browser of the tests: what `CHROMIUM_BIN` names, or the one on PATH. */
export function chromiumBinary(): string | undefined {
  return process.env['CHROMIUM_BIN'] || findProgram('chromium', 'chromium-browser', 'google-chrome');
}

/** @throws Error when there is no Chromium. */
export async function openBrowser(): Promise<Browser> {
  const executablePath = chromiumBinary();
  if (executablePath === undefined)
    throw new Error('no Chromium on PATH: install it, or name one in CHROMIUM_BIN');
  const sandbox = process.getuid?.() === 0 ? ['--no-sandbox'] : [];
  return chromium.launch({ executablePath, args: [...QUIET, ...sandbox] });
}

/** Keeps a picture of the page in the git-ignored e2e/artifacts/, for people to look at. */
export async function screenshot(page: Page, name: string): Promise<void> {
  mkdirSync(ARTIFACTS, { recursive: true });
  await page.screenshot({ path: join(ARTIFACTS, `${name}.png`), fullPage: true });
}
