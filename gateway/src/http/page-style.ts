import { createHash } from 'node:crypto';
import { css, html } from './html.ts';

/*
 * The one stylesheet of every page. No web fonts, no images: a page is one small response and its
 * Content-Security-Policy allows exactly this text and nothing else.
 *
 * Colours keep a contrast of at least 4.5:1 for text and 3:1 for control borders (WCAG 2.2 AA) in both schemes.
 */
const STYLE = css`
  *,
  *::before,
  *::after {
    box-sizing: border-box;
  }
  :root {
    color-scheme: light dark;
    --ground: #f3f5f7;
    --card: #fff;
    --ink: #17212b;
    --soft: #4d5b69;
    --line: #d5dce3;
    --edge: #7b8896;
    --tint: #eef3f5;
    --accent: #0f5f69;
    --accent-hover: #0a4a52;
    --on-accent: #fff;
    --bad: #a3242f;
    --good: #1c6b40;
    --warn: #5b4300;
    --warn-ground: #fdf4dc;
    --warn-line: #e3c878;
    --mono: ui-monospace, SFMono-Regular, Menlo, Consolas, 'Liberation Mono', monospace;
  }
  @media (prefers-color-scheme: dark) {
    :root {
      --ground: #10161b;
      --card: #182027;
      --ink: #e9eef2;
      --soft: #aab6c1;
      --line: #2d3842;
      --edge: #74828f;
      --tint: #111a20;
      --accent: #86d3d6;
      --accent-hover: #a9e3e5;
      --on-accent: #05292c;
      --bad: #ff9c9f;
      --good: #83d6a5;
      --warn: #f2dba2;
      --warn-ground: #2a2414;
      --warn-line: #5d4d22;
    }
  }
  @media (prefers-contrast: more) {
    :root {
      --soft: var(--ink);
      --line: var(--edge);
    }
  }
  html {
    -webkit-text-size-adjust: 100%;
  }
  body {
    margin: 0;
    min-height: 100vh;
    min-height: 100dvh;
    display: flex;
    flex-direction: column;
    align-items: center;
    padding: clamp(1.25rem, 6vh, 4.5rem) 1rem 1.5rem;
    background: var(--ground);
    color: var(--ink);
    font:
      1rem/1.55 system-ui,
      -apple-system,
      'Segoe UI',
      Roboto,
      'Helvetica Neue',
      Arial,
      sans-serif;
  }
  header,
  main,
  footer {
    width: 100%;
    max-width: 30rem;
  }
  header {
    display: flex;
    align-items: center;
    gap: 0.6rem;
    margin: 0 0 1rem;
    padding: 0 0.25rem;
    font-size: 0.9375rem;
  }
  header svg {
    width: 1.5rem;
    height: 1.5rem;
    flex: none;
    color: var(--accent);
  }
  main {
    background: var(--card);
    border: 1px solid var(--line);
    border-radius: 1rem;
    padding: clamp(1.25rem, 6vw, 2.25rem);
    box-shadow:
      0 1px 2px rgb(15 25 35/0.04),
      0 12px 32px -16px rgb(15 25 35/0.14);
  }
  footer {
    margin-top: 1rem;
    padding: 0 0.25rem;
    font-size: 0.8125rem;
    color: var(--soft);
    overflow-wrap: anywhere;
  }
  h1 {
    margin: 0 0 0.75rem;
    font-size: clamp(1.375rem, 5.5vw, 1.625rem);
    line-height: 1.25;
    font-weight: 650;
    letter-spacing: -0.01em;
    text-wrap: balance;
  }
  h2 {
    margin: 0 0 0.25rem;
    font-size: 0.9375rem;
    font-weight: 600;
  }
  p {
    margin: 0 0 1rem;
    text-wrap: pretty;
  }
  form {
    margin: 0;
  }
  strong {
    font-weight: 600;
  }
  :is(main, footer, section, form, .note) > :last-child,
  p > .button:last-child {
    margin-bottom: 0;
  }
  a {
    color: var(--accent);
    text-underline-offset: 0.15em;
  }
  a:hover {
    color: var(--accent-hover);
  }
  .soft {
    color: var(--soft);
  }
  .small {
    font-size: 0.875rem;
  }
  .sign {
    display: flex;
    align-items: center;
    justify-content: center;
    width: 3rem;
    height: 3rem;
    margin: 0 0 1rem;
    border-radius: 50%;
    background: var(--tint);
    color: var(--accent);
  }
  .sign svg {
    width: 1.5rem;
    height: 1.5rem;
  }
  .sign.good {
    color: var(--good);
  }
  .sign.bad {
    color: var(--bad);
  }
  .code {
    margin: 1.25rem 0;
    padding: 1rem 0.5rem;
    border: 1px solid var(--line);
    border-radius: 0.75rem;
    background: var(--tint);
    text-align: center;
    white-space: nowrap;
    font: 600 clamp(1.5rem, 8.5vw, 2.125rem)/1.2 var(--mono);
    letter-spacing: 0.08em;
  }
  dl {
    margin: 0 0 1.25rem;
    display: grid;
    grid-template-columns: max-content 1fr;
    gap: 0.35rem 1rem;
    font-size: 0.9375rem;
  }
  dt {
    color: var(--soft);
  }
  dd {
    margin: 0;
    overflow-wrap: anywhere;
  }
  .note {
    margin: 0 0 1.25rem;
    padding: 0.75rem 1rem;
    border: 1px solid var(--line);
    border-radius: 0.625rem;
    background: var(--tint);
    font-size: 0.9375rem;
    overflow-wrap: anywhere;
  }
  .note p {
    margin: 0 0 0.35rem;
  }
  .note.warn {
    color: var(--warn);
    background: var(--warn-ground);
    border-color: var(--warn-line);
  }
  label {
    display: block;
    margin: 0 0 0.4rem;
    font-weight: 600;
  }
  .entry {
    width: 100%;
    margin: 0 0 0.5rem;
    padding: 0.85rem 0.75rem;
    border: 1px solid var(--edge);
    border-radius: 0.625rem;
    background: var(--card);
    color: var(--ink);
    text-align: center;
    text-transform: uppercase;
    font: 600 1.5rem/1.2 var(--mono);
    letter-spacing: 0.08em;
  }
  .entry::placeholder {
    color: var(--soft);
    opacity: 1;
    font-weight: 400;
  }
  .entry[aria-invalid='true'] {
    border-color: var(--bad);
    box-shadow: inset 0 0 0 1px var(--bad);
  }
  .error {
    margin: 0 0 0.5rem;
    color: var(--bad);
    font-weight: 600;
  }
  .hint {
    margin: 0 0 1.25rem;
    color: var(--soft);
    font-size: 0.875rem;
  }
  button,
  .button {
    display: block;
    width: 100%;
    min-height: 3rem;
    margin: 0 0 0.625rem;
    padding: 0.7rem 1rem;
    border: 1px solid transparent;
    border-radius: 0.625rem;
    background: var(--accent);
    color: var(--on-accent);
    font: inherit;
    font-weight: 600;
    text-align: center;
    text-decoration: none;
    cursor: pointer;
    overflow-wrap: anywhere;
  }
  button:hover,
  .button:hover {
    background: var(--accent-hover);
    color: var(--on-accent);
  }
  button.quiet {
    background: none;
    border-color: var(--edge);
    color: var(--ink);
  }
  button.quiet:hover {
    background: var(--tint);
    border-color: var(--ink);
    color: var(--ink);
  }
  :is(a, button, input):focus-visible {
    outline: 3px solid var(--accent);
    outline-offset: 2px;
  }
  .after {
    margin: 1.25rem 0;
  }
  kbd,
  samp {
    font: 0.9375em var(--mono);
  }
  pre {
    font: 0.875em/1.5 var(--mono);
    white-space: pre-wrap;
    overflow-wrap: anywhere;
  }
  pre code {
    font: inherit;
  }
  kbd {
    padding: 0.1em 0.35em;
    border: 1px solid var(--line);
    border-radius: 0.3em;
    background: var(--tint);
  }
  .hidden {
    position: absolute;
    width: 1px;
    height: 1px;
    margin: -1px;
    padding: 0;
    overflow: hidden;
    clip-path: inset(50%);
    white-space: nowrap;
  }
  @media (forced-colors: active) {
    button,
    .button,
    .code,
    .note,
    .sign {
      border: 1px solid;
    }
  }
  @media print {
    body {
      background: none;
    }
    main {
      box-shadow: none;
    }
  }
`;

export const STYLE_ELEMENT = html`<style>
  ${STYLE}
</style>`;

/** The source expression that lets {@link STYLE_ELEMENT}, and no other style, through a Content-Security-Policy. */
export const STYLE_SOURCE = `'sha256-${createHash('sha256').update(contentOf(STYLE_ELEMENT.toString())).digest('base64')}'`;

/** What a browser hashes: everything between the tags, blanks included. */
function contentOf(element: string): string {
  return element.slice('<style>'.length, -'</style>'.length);
}
