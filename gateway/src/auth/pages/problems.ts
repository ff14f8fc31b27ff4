import { html } from '../../http/page.ts';
import { problemPage, type OutcomePage } from './outcome.ts';

/** The pages of everything that can go wrong in the browser: what happened, and what the person can do. */

const START_AGAIN = { label: 'Enter a code', href: '/device' };

const RUN_LOGIN = html`Run <kbd>/login</kbd> in your terminal again and open the link that it shows.`;

/** A form came from somewhere that is not a page of ours. */
export function crossOriginPage(): OutcomePage {
  return problemPage({
    status: 403,
    heading: 'This request was blocked',
    explanation: 'It came from another website, or from a browser that does not say which page it came from.',
    remedy: html`To sign in, open the page below and enter the code from your terminal.`,
    action: START_AGAIN,
  });
}

export function staleFormPage(): OutcomePage {
  return problemPage({
    status: 403,
    heading: 'This page is out of date',
    explanation: 'It was open for too long, or your browser does not accept cookies.',
    remedy: html`Enter the code from your terminal again. If this page comes back, allow cookies for this
    site.`,
    action: START_AGAIN,
  });
}

/** @param codes Whether it was wrong codes that were too many, or people who sign in. */
export function tooManyAttemptsPage(waitSeconds: number, codes: 'wrong' | 'right'): OutcomePage {
  const minutes = Math.ceil(waitSeconds / 60);
  return problemPage({
    status: 429,
    heading: 'Too many attempts',
    explanation:
      codes === 'wrong'
        ? 'Too many wrong codes were entered from your network, which you may share with other people.'
        : 'Too many people signed in from your network in a short time.',
    remedy: html`Wait ${minutes === 1 ? 'a minute' : `${minutes} minutes`}, then reload this page or enter
    your code again.`,
  });
}

export function tooManyRequestsPage(waitSeconds: number): OutcomePage {
  return problemPage({
    status: 429,
    heading: 'Too many requests',
    explanation: 'Your network, which you may share with other people, has requested too many pages.',
    remedy: html`Wait ${waitSeconds === 1 ? 'a second' : `${waitSeconds} seconds`}, then reload this page.`,
  });
}

export function tooManySignInsPage(): OutcomePage {
  return problemPage({
    status: 429,
    heading: 'Too many attempts',
    explanation: 'This code was used to start a sign-in many times, and none of them was completed.',
    remedy: RUN_LOGIN,
  });
}

export function storeAwayPage(): OutcomePage {
  return problemPage({
    status: 503,
    heading: 'Sign-in is not available right now',
    explanation: 'The gateway cannot reach its database.',
    remedy: html`Wait a moment, then reload this page. Your code stays valid for ten minutes.`,
  });
}

/** @param userCode Lets the person try again with the same code. */
export function providerAwayPage(userCode: string | null): OutcomePage {
  return problemPage({
    status: 503,
    heading: 'Your identity provider is not responding',
    explanation: 'The gateway could not reach it, or it reported an error.',
    remedy: html`Wait a moment, then try again.`,
    action: tryAgain(userCode),
  });
}

/** The identity provider or the gateway's rules did not let this person in. */
export function refusedPage(reason: string, userCode: string): OutcomePage {
  return problemPage({
    status: 403,
    heading: 'You were not signed in',
    explanation: reason,
    remedy: html`You can try again, for example with another account. If this should have worked, ask your IT
    department and give them the reference below.`,
    action: tryAgain(userCode),
  });
}

/** Nothing is known of this `state`: used, expired, made up, or from before a key was dropped. */
export function unknownSignInPage(): OutcomePage {
  return problemPage({
    status: 400,
    heading: 'This sign-in link no longer works',
    explanation: 'Each link works once, within ten minutes.',
    remedy: html`If Claude Code says that you are signed in, you are done. Otherwise run <kbd>/login</kbd> in
      your terminal again.`,
  });
}

export function otherBrowserPage(): OutcomePage {
  return problemPage({
    status: 403,
    heading: 'This sign-in was started in another browser',
    explanation:
      'For your security, a sign-in must be completed in the browser that started it, and that browser must accept cookies.',
    remedy: html`${RUN_LOGIN} If somebody sent you the link that led here, stop here and tell your IT
    department.`,
  });
}

export function unexpectedPage(status: number): OutcomePage {
  return problemPage({
    status,
    heading: status < 500 ? 'The gateway could not read this request' : 'Something went wrong',
    explanation:
      status < 500
        ? 'Your browser sent something incomplete or too large.'
        : 'An error in the gateway stopped this request.',
    remedy: html`Try again. If it happens again, ask your IT department and give them the reference below.`,
    action: START_AGAIN,
  });
}

function tryAgain(userCode: string | null): { label: string; href: string } {
  return userCode === null
    ? START_AGAIN
    : { label: 'Try again', href: `/device?user_code=${encodeURIComponent(userCode)}` };
}
