import type { OutgoingHttpHeaders, ServerResponse } from 'node:http';
import { html, type Html } from './html.ts';
import { STYLE_ELEMENT, STYLE_SOURCE } from './page-style.ts';

export { html, Html, type HtmlValue } from './html.ts';

/** A page for a person's browser: one language, no script, one stylesheet. */
export interface Page {
  /** The state that the person is in, in a few words; the browser's tab shows it before the product's name. */
  readonly title: string;
  /** The content of `main`; begins with an `h1`. */
  readonly body: Html;
  /** Shown small below the content, for support: the request id, usually. */
  readonly reference?: string;
}

export interface PageResponse extends Page {
  /** Default: 200. */
  readonly status?: number;
  /**
   * Where forms of this page may lead beside the gateway itself, redirects included (CSP3 §6.4.1). Absent: the page
   * has no form.
   */
  readonly formActionOrigins?: readonly string[];
  /** Whether people reach the gateway over https: browsers are then told to never try plain http again. */
  readonly secure: boolean;
  readonly headers?: OutgoingHttpHeaders;
}

/** Headers of every answer that a browser may see, page or not. */
export const BROWSER_HEADERS: Readonly<Record<string, string>> = {
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
};

const PRODUCT = 'Claude Gateway';

/** An arch to go through. */
const MARK = html`<svg
  viewBox="0 0 24 24"
  fill="none"
  stroke="currentColor"
  stroke-width="2"
  stroke-linecap="round"
  stroke-linejoin="round"
  aria-hidden="true"
  focusable="false"
>
  <path d="M4 21V11a8 8 0 0 1 16 0v10" />
  <path d="M9 21v-9a3 3 0 0 1 6 0v9" />
  <path d="M2 21h20" />
</svg>`;

/** The whole document as text. */
export function renderPage(page: Page): string {
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <title>${page.title} – ${PRODUCT}</title>
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="color-scheme" content="light dark" />
        <meta name="robots" content="noindex" />
        ${STYLE_ELEMENT}
      </head>
      <body>
        <header>${MARK}<strong>${PRODUCT}</strong></header>
        <main>${page.body}</main>
        ${
          page.reference !== undefined &&
          html`<footer>
            <p>Reference: <samp>${page.reference}</samp></p>
          </footer>`
        }
      </body>
    </html> `.toString();
}

/** Answers with a page and the headers that keep it to itself: nothing loads, frames, scripts, stores or refers. */
export function sendPage(response: ServerResponse, page: PageResponse): void {
  const document = renderPage(page);
  response.writeHead(page.status ?? 200, {
    ...pageHeaders(page),
    ...page.headers,
    'content-type': 'text/html; charset=utf-8',
    'content-length': Buffer.byteLength(document),
  });
  response.end(response.req.method === 'HEAD' ? undefined : document);
}

/** Security headers of a page, or of a redirect that belongs to one. */
export function pageHeaders(page: Pick<PageResponse, 'formActionOrigins' | 'secure'>): OutgoingHttpHeaders {
  return {
    'content-security-policy': contentSecurityPolicy(page.formActionOrigins),
    'cache-control': 'no-store',
    ...BROWSER_HEADERS,
    // Without includeSubDomains: the gateway's host does not speak for its neighbours.
    ...(page.secure ? { 'strict-transport-security': 'max-age=31536000' } : {}),
  };
}

function contentSecurityPolicy(formActionOrigins: readonly string[] | undefined): string {
  const formAction =
    formActionOrigins === undefined ? "'none'" : [...new Set(["'self'", ...formActionOrigins])].join(' ');
  return (
    `default-src 'none'; style-src ${STYLE_SOURCE}; form-action ${formAction}; ` +
    `frame-ancestors 'none'; base-uri 'none'`
  );
}
