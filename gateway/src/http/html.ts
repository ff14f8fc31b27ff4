/**
 * A piece of markup that is safe to send. Only {@link html} makes one, so whatever else is interpolated into a page
 * is text and gets escaped.
 */
export class Html {
  readonly #markup: string;

  private constructor(markup: string) {
    this.#markup = markup;
  }

  toString(): string {
    return this.#markup;
  }

  /** @internal Use {@link html}: this is how it makes its results. */
  static fromTemplate(strings: TemplateStringsArray, values: readonly HtmlValue[]): Html {
    let markup = strings[0] ?? '';
    values.forEach((value, i) => (markup += render(value) + (strings[i + 1] ?? '')));
    return new Html(markup);
  }
}

/** What a page template may interpolate; `false`, `null` and `undefined` leave nothing behind. */
export type HtmlValue = string | number | Html | false | null | undefined | readonly HtmlValue[];

/**
 * Markup from a template literal. Interpolated text is escaped for element content and for quoted attribute values;
 * it must not be placed in an unquoted attribute, a script, a style or a URL scheme position.
 */
export function html(strings: TemplateStringsArray, ...values: readonly HtmlValue[]): Html {
  return Html.fromTemplate(strings, values);
}

/** A stylesheet, taken as it is: nothing can be interpolated. */
export function css(strings: TemplateStringsArray): Html {
  return Html.fromTemplate(strings, []);
}

const ENTITIES: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

function render(value: HtmlValue): string {
  if (value === undefined || value === null || value === false) return '';
  if (value instanceof Html) return value.toString();
  if (typeof value === 'object') return value.map(render).join('');
  return String(value).replace(/[&<>"']/g, (character) => ENTITIES[character] ?? '');
}
