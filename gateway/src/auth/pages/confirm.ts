import { html, type Html, type Page } from '../../http/page.ts';

export interface Confirmation {
  /** As the terminal shows it, `XXXX-XXXX`. */
  readonly userCode: string;
  /** Hidden field that ties the form to this browser and to the code. */
  readonly ticket: string;
  readonly providers: readonly { readonly id: string; readonly label: string }[];
  readonly request: RequestOrigin;
  /** The organisation's words, and the host that they speak for. */
  readonly notice?: { readonly text: string; readonly host: string } | undefined;
}

/** What is known about the device that asked. */
export interface RequestOrigin {
  /** What it says it is: shown only when it is one of the names that are known here. */
  readonly surface: string | null;
  /** null: not known. */
  readonly address: string | null;
  /** How the device's address relates to this browser's; `unclear` when they cannot be compared. */
  readonly addressMatch: 'same' | 'different' | 'unclear';
  /** Seconds since the device asked. */
  readonly age: number;
}

/** Anybody may claim any name: what is not here is not shown. */
const SURFACES = new Map([['claude_code', 'Claude Code']]);

/**
 * The page on which a person approves a device: what asked, from where, since when, and the code to compare. This is
 * the place where a person who was sent somebody else's link can still notice (RFC 8628 §5.4).
 */
export function confirmPage(confirmation: Confirmation): Page {
  const { userCode, ticket, providers, request, notice } = confirmation;
  return {
    title: 'Confirm your code',
    body: html`<h1>Does your terminal show this code?</h1>
      <p class="code" translate="no">
        <span aria-hidden="true">${userCode}</span><span class="hidden">${spelled(userCode)}</span>
      </p>
      ${details(request)} ${request.addressMatch !== 'same' && NOTES[request.addressMatch]}
      <p>
        Continue only if you started this sign-in yourself. If somebody sent you this link or code, reject it.
        Otherwise they could use Claude Code as you.
      </p>
      <form method="post" action="/device">
        <input type="hidden" name="ticket" value="${ticket}" />
        ${buttons(providers)}
        <button class="quiet" type="submit" formaction="/device/deny">No, reject it</button>
      </form>
      <p class="small soft after">
        Does your terminal show a different code? <a href="/device">Enter it here</a>.
      </p>
      ${notice && noticeBox(notice)}`,
  };
}

/** One letter at a time, with a pause between the groups. */
function spelled(userCode: string): string {
  return userCode
    .split('-')
    .map((group) => [...group].join(' '))
    .join(', ');
}

function buttons(providers: Confirmation['providers']): Html {
  const [first, ...others] = providers;
  if (first === undefined) return html``;
  if (others.length === 0) {
    return html`<button type="submit" name="provider" value="${first.id}">Yes, continue to sign in</button>`;
  }
  return html`${providers.map(
    ({ id, label }) =>
      html`<button type="submit" name="provider" value="${id}">
        Yes, sign in with <bdi>${label}</bdi>
      </button> `,
  )}`;
}

function details({ surface, address, addressMatch, age }: RequestOrigin): Html {
  const rows: [string, Html][] = [];
  const program = SURFACES.get(surface ?? '');
  if (program !== undefined) rows.push(['Asked by', html`${program}`]);
  if (address !== null) {
    rows.push(['From', html`${address}${addressMatch === 'same' && SHARED_ADDRESS}`]);
  }
  rows.push(['When', html`${ago(age)}`]);
  return html`<dl>
    ${rows.map(
      ([term, value]) =>
        html`<dt>${term}</dt>
          <dd>${value}</dd>`,
    )}
  </dl>`;
}

function ago(seconds: number): string {
  if (seconds < 60) return 'less than a minute ago';
  const minutes = Math.floor(seconds / 60);
  return minutes === 1 ? 'a minute ago' : `${minutes} minutes ago`;
}

/** True of a colleague's laptop in the same office as well. */
const SHARED_ADDRESS = ' (the same network address as your browser; other people may share it)';

const OTHER_ADDRESS = html`<div class="note warn" role="note">
  <p><strong>This request came from a different network address than your browser.</strong></p>
  <p>That is normal if Claude Code runs on a remote machine. If yours does not, reject the request.</p>
</div>`;

const UNCLEAR_ADDRESS = html`<div class="note warn" role="note">
  <p><strong>The gateway cannot tell whether this request came from your computer.</strong></p>
  <p>If your own terminal does not show this code now, reject the request.</p>
</div>`;

const NOTES = { different: OTHER_ADDRESS, unclear: UNCLEAR_ADDRESS } as const;

function noticeBox({ text, host }: { text: string; host: string }): Html {
  return html`<section class="note" aria-labelledby="notice">
    <h2 id="notice">Notice from ${host}</h2>
    <p>${text}</p>
  </section>`;
}
