import { sameBrowser } from './browser.ts';
import type { Sealer } from '../session/sealer.ts';

/**
 * What a form of ours carries back: proof that we made it for this browser, so that no other site can submit it, and
 * what had been found out until then, so that no replica needs to remember it. Opaque to the browser.
 */
export interface Ticket {
  /** The code that was looked up, as shown; null on the form that asks for one. */
  readonly userCode: string | null;
  readonly grantId: string | null;
}

const PURPOSE = 'device-form';
const LONGEST = 1024;

interface Sealed extends Ticket {
  readonly browser: string;
  readonly expires: number;
}

export function sealTicket(sealer: Sealer, ticket: Ticket, browser: Buffer, expires: Date): string {
  const content: Sealed = { ...ticket, browser: browser.toString('base64'), expires: expires.getTime() };
  return sealer.seal(PURPOSE, JSON.stringify(content)).toString('base64url');
}

/** @returns undefined when the ticket is forged, expired, or another browser's. */
export function openTicket(
  sealer: Sealer,
  sealed: string | undefined,
  browser: Buffer | undefined,
  now: Date,
): Ticket | undefined {
  if (sealed === undefined || sealed.length > LONGEST) return undefined;
  let content: Sealed;
  try {
    content = JSON.parse(sealer.open(PURPOSE, Buffer.from(sealed, 'base64url')).toString()) as Sealed;
  } catch {
    return undefined;
  }
  if (content.expires <= now.getTime()) return undefined;
  if (!sameBrowser(browser, Buffer.from(content.browser, 'base64'))) return undefined;
  return { userCode: content.userCode, grantId: content.grantId };
}
