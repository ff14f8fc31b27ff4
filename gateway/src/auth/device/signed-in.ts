import type { RequestHandler, Response } from 'express';
import { pageHeaders } from '../../http/page.ts';
import { signedInPage } from '../pages/outcome.ts';
import { unknownSignInPage } from '../pages/problems.ts';
import { answerPage } from './answers.ts';
import { BrowserCookie, sameBrowser } from './browser.ts';
import type { DeviceDependencies } from './dependencies.ts';
import { field } from './form.ts';

/** Where a sign-in that worked ends. */
export const SIGNED_IN_PATH = '/device/signed-in';

const PURPOSE = 'device-signed-in';
/** As long as the browser keeps its cookie. */
const LIFETIME_MS = 3_600_000;
const MAX_SEALED_CHARACTERS = 4096;

interface SignedInAs {
  /** How the page calls the person. */
  readonly person: string;
  /** Named only where there is a choice. */
  readonly provider?: string | undefined;
}

interface Sealed extends SignedInAs {
  readonly browser: string;
  readonly expires: number;
}

/**
 * Sends the browser on to the page that says so: the callback works once, and a reload of its answer would end in an
 * error. What the page shows travels sealed, so that any replica can show it, in this browser only.
 */
export function redirectToSignedIn(
  deps: DeviceDependencies,
  response: Response,
  as: SignedInAs,
  browser: Buffer,
): void {
  const expires = deps.clock().getTime() + LIFETIME_MS;
  const content: Sealed = { ...as, browser: browser.toString('base64'), expires };
  const sealed = deps.sealer.seal(PURPOSE, JSON.stringify(content)).toString('base64url');
  response
    .status(303)
    .set(pageHeaders({ secure: deps.settings().publicUrl.startsWith('https:') }))
    .set('location', `${SIGNED_IN_PATH}?as=${sealed}`)
    .end();
}

/** `GET /device/signed-in`: stays the same however often it is loaded. */
export function showSignedIn(deps: DeviceDependencies): RequestHandler {
  return (request, response) => {
    const content = open(deps, field(request.query, 'as'));
    const browser = new BrowserCookie(deps.settings().publicUrl).read(request);
    const isShown =
      content !== undefined &&
      content.expires > deps.clock().getTime() &&
      sameBrowser(browser, Buffer.from(content.browser, 'base64'));
    answerPage(
      deps,
      request,
      response,
      isShown ? signedInPage(content.person, content.provider) : unknownSignInPage(),
    );
  };
}

function open(deps: DeviceDependencies, sealed: string | undefined): Sealed | undefined {
  if (sealed === undefined || sealed.length > MAX_SEALED_CHARACTERS) return undefined;
  try {
    return JSON.parse(deps.sealer.open(PURPOSE, Buffer.from(sealed, 'base64url')).toString()) as Sealed;
  } catch {
    return undefined;
  }
}
