import { html, type Html, type Page } from '../../http/page.ts';
import { BAD, GOOD, STOPPED } from './signs.ts';

export interface OutcomePage extends Page {
  readonly status: number;
}

/** The end of a sign-in that worked. */
export function signedInPage(person: string, provider: string | undefined): OutcomePage {
  return {
    status: 200,
    title: 'Signed in',
    body: html`${GOOD}
      <h1>You are signed in</h1>
      <p>
        Signed in as <strong><bdi>${person}</bdi></strong
        >${provider !== undefined && html` with <bdi>${provider}</bdi>`}.
      </p>
      <p>
        Now go back to your terminal. Within a few seconds Claude Code shows this account and asks whether to
        continue. “No” is selected there: choose <strong>Yes, continue</strong> and press <kbd>Enter</kbd>.
        You can close this page.
      </p>`,
  };
}

/** The person said no. */
export function deniedPage(): OutcomePage {
  return {
    status: 200,
    title: 'Sign-in rejected',
    body: html`${STOPPED}
      <h1>Sign-in rejected</h1>
      <p>Nobody was signed in, and the code can no longer be used. You can close this page.</p>
      <p class="soft">
        If you did not start this sign-in and somebody sent you the link or the code, tell your IT department:
        other people may have received one too.
      </p>`,
  };
}

/** The code was good once. */
export function notWaitingPage(): OutcomePage {
  return problemPage({
    status: 410,
    heading: 'This code is no longer valid',
    explanation: 'It has been used, was rejected, or has expired. Each code works once, within ten minutes.',
    remedy: html`If Claude Code says that you are signed in, you are done. Otherwise run <kbd>/login</kbd> in
      your terminal and use the new code.`,
  });
}

export interface Problem {
  readonly status: number;
  readonly heading: string;
  /** What happened. */
  readonly explanation: string;
  /** What to do about it. */
  readonly remedy: Html;
  /** A button that leads on: a path of ours. */
  readonly action?: { readonly label: string; readonly href: string } | undefined;
}

/** A page that says what happened and what to do. */
export function problemPage({ status, heading, explanation, remedy, action }: Problem): OutcomePage {
  return {
    status,
    title: heading,
    body: html`${BAD}
      <h1>${heading}</h1>
      <div role="alert"><p>${explanation}</p></div>
      <p>${remedy}</p>
      ${action && html`<p><a class="button" href="${action.href}">${action.label}</a></p>`}`,
  };
}
