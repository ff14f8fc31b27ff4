/** One answer, with the URL that it came from after redirects. */
export interface Page {
  readonly url: string;
  readonly status: number;
  readonly headers: Headers;
  readonly body: string;
}

export interface Form {
  readonly action: string;
  readonly method: string;
  readonly fields: Record<string, string>;
  /** Submit buttons that carry a name. */
  readonly buttons: readonly { name: string; value: string; text: string; formAction?: string }[];
}

/**
 * A browser without a screen: cookies by host, redirects, forms. Real browsers are in the sign-in test; this one is
 * for the many cases where only the HTTP matters.
 */
export class HttpSession {
  readonly #cookies = new Map<string, Map<string, string>>();

  get(url: string): Promise<Page> {
    return this.#follow(new URL(url), { method: 'GET' });
  }

  /** Fills the form in and submits it as a browser does from `page`. */
  submit(
    page: Page,
    form: Form,
    values: Record<string, string> = {},
    button?: Form['buttons'][number],
  ): Promise<Page> {
    const body = new URLSearchParams({ ...form.fields, ...values });
    if (button !== undefined && button.name !== '') body.set(button.name, button.value);
    const action = new URL(button?.formAction ?? form.action, page.url);
    if (form.method === 'GET') {
      action.search = body.toString();
      return this.#follow(action, { method: 'GET' });
    }
    return this.#follow(action, {
      method: 'POST',
      body: body.toString(),
      headers: {
        'content-type': 'application/x-www-form-urlencoded',
        origin: new URL(page.url).origin,
        'sec-fetch-site': action.origin === new URL(page.url).origin ? 'same-origin' : 'cross-site',
      },
    });
  }

  async #follow(start: URL, init: RequestInit): Promise<Page> {
    let url = start;
    let request = init;
    for (let hops = 0; hops < 20; hops++) {
      const headers = new Headers(request.headers);
      const jar = this.#cookies.get(url.host);
      if (jar !== undefined && jar.size > 0) {
        headers.set('cookie', [...jar].map(([name, value]) => `${name}=${value}`).join('; '));
      }
      const response = await fetch(url, { ...request, headers, redirect: 'manual' });
      this.#remember(url.host, response.headers.getSetCookie());
      const location = response.headers.get('location');
      if (response.status < 300 || response.status >= 400 || location === null) {
        return {
          url: url.href,
          status: response.status,
          headers: response.headers,
          body: await response.text(),
        };
      }
      await response.arrayBuffer();
      url = new URL(location, url);
      request = { method: 'GET' };
    }
    throw new Error(`too many redirects from ${start.href}`);
  }

  #remember(host: string, setCookies: string[]): void {
    const jar = this.#cookies.get(host) ?? new Map<string, string>();
    this.#cookies.set(host, jar);
    for (const cookie of setCookies) {
      const [pair = '', ...attributes] = cookie.split(';');
      const at = pair.indexOf('=');
      const name = pair.slice(0, at).trim();
      const gone = attributes.some((attribute) =>
        /^\s*(max-age=0|expires=thu, 01 jan 1970)/i.test(attribute),
      );
      if (gone) jar.delete(name);
      else jar.set(name, pair.slice(at + 1));
    }
  }
}

/** The forms of a page. Enough for pages that we wrote; not an HTML parser. */
export function formsOf(page: Page): Form[] {
  return [...page.body.matchAll(/<form\b([^>]*)>([\s\S]*?)<\/form>/gi)].map(
    ([, attributes = '', content = '']) => ({
      action: attribute(attributes, 'action') ?? '',
      method: (attribute(attributes, 'method') ?? 'get').toUpperCase(),
      fields: Object.fromEntries(
        [...content.matchAll(/<input\b([^>]*)>/gi)].flatMap(([, input = '']) => {
          const name = attribute(input, 'name');
          return name === undefined ? [] : [[name, attribute(input, 'value') ?? '']];
        }),
      ),
      buttons: [...content.matchAll(/<button\b([^>]*)>([\s\S]*?)<\/button>/gi)].map(
        ([, button = '', text = '']) => {
          const formAction = attribute(button, 'formaction');
          return {
            name: attribute(button, 'name') ?? '',
            value: attribute(button, 'value') ?? '',
            text: text.replaceAll(/<[^>]*>/g, '').trim(),
            ...(formAction === undefined ? {} : { formAction }),
          };
        },
      ),
    }),
  );
}

function attribute(source: string, name: string): string | undefined {
  const match = new RegExp(`\\b${name}\\s*=\\s*"([^"]*)"`, 'i').exec(source);
  return match?.[1]
    ?.replaceAll('&amp;', '&')
    .replaceAll('&quot;', '"')
    .replaceAll('&#39;', "'")
    .replaceAll('&#x27;', "'");
}
