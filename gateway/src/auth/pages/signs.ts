import { html, type Html } from '../../http/page.ts';

/** Pictures beside a heading; the words say the same, so assistive technology skips them. */
export const GOOD: Html = html`<div class="sign good" aria-hidden="true">
  <svg
    viewBox="0 0 24 24"
    fill="none"
    stroke="currentColor"
    stroke-width="2.25"
    stroke-linecap="round"
    stroke-linejoin="round"
  >
    <path d="m5 12.5 4.5 4.5L19 7.5" />
  </svg>
</div>`;

export const STOPPED: Html = html`<div class="sign" aria-hidden="true">
  <svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2.25" stroke-linecap="round">
    <circle cx="12" cy="12" r="8.5" />
    <path d="m6 6 12 12" />
  </svg>
</div>`;

export const BAD: Html = html`<div class="sign bad" aria-hidden="true">
  <svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2.25" stroke-linecap="round">
    <path d="M12 4.5v9.5M12 18.9v.1" />
  </svg>
</div>`;
