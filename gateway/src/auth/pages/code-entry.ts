import { html, type Html, type Page } from '../../http/page.ts';

export interface CodeEntry {
  /** Hidden field that ties the form to this browser. */
  readonly ticket: string;
  /** What to fill in: what the person typed last time, or what the link carried. */
  readonly value?: string | undefined;
  /** What was wrong with it, in one or two sentences. */
  readonly problem?: string | undefined;
}

/** The page that asks for the code. It never submits itself (RFC 8628 §5.4). */
export function codeEntryPage({ ticket, value, problem }: CodeEntry): Page & { body: Html } {
  return {
    title: problem === undefined ? 'Enter your code' : 'Check your code',
    body: html`<h1>Enter the code from your terminal</h1>
      <p class="soft">Claude Code shows a short code while it waits for you to sign in.</p>
      <form method="post" action="/device">
        <input type="hidden" name="ticket" value="${ticket}" />
        <label for="user_code">Code</label>
        <input
          class="entry"
          id="user_code"
          name="user_code"
          type="text"
          value="${value ?? ''}"
          placeholder="XXXX-XXXX"
          maxlength="32"
          size="12"
          required
          autofocus
          autocomplete="off"
          autocapitalize="characters"
          autocorrect="off"
          spellcheck="false"
          inputmode="text"
          enterkeyhint="go"
          translate="no"
          aria-describedby="${problem !== undefined && 'problem '}hint"
          ${problem !== undefined && html` aria-invalid="true"`}
        />
        ${problem !== undefined && html`<p class="error" id="problem" role="alert">${problem}</p>`}
        <p class="hint" id="hint">Eight letters. Upper or lower case, with or without the dash.</p>
        <button type="submit">Continue</button>
      </form>`,
  };
}
