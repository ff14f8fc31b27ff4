import type { DevelopmentUser } from './identity-provider-users.ts';

/** A person as the pages show them. */
export interface ListedUser extends DevelopmentUser {
  readonly disabled: boolean;
}

const STYLE = `
  :root { color-scheme: light dark; --line: light-dark(#d5d5dc, #3a3a44); --quiet: light-dark(#5c5c66, #a5a5b0);
          --card: light-dark(#fff, #202027); --back: light-dark(#f4f4f7, #16161b); --accent: light-dark(#3b5bdb, #91a7ff); }
  body { font: 16px/1.5 system-ui, sans-serif; background: var(--back); margin: 0; padding: 1rem; }
  main { max-width: 30rem; margin: 6vh auto; background: var(--card); border: 1px solid var(--line);
         border-radius: 12px; padding: 1.5rem; }
  h1 { font-size: 1.25rem; margin: 0 0 .25rem; }
  p { color: var(--quiet); margin: .25rem 0 1rem; }
  ul { list-style: none; margin: 0; padding: 0; display: grid; gap: .5rem; }
  .person { display: block; width: 100%; text-align: left; font: inherit; color: inherit; background: none;
            border: 1px solid var(--line); border-radius: 8px; padding: .75rem 1rem; cursor: pointer; }
  .person:hover, .person:focus-visible { border-color: var(--accent); outline: 2px solid var(--accent); outline-offset: 1px; }
  .person[disabled] { opacity: .55; cursor: not-allowed; outline: none; border-color: var(--line); }
  .person small { display: block; color: var(--quiet); }
  .row { display: flex; gap: .75rem; align-items: center; justify-content: space-between; border: 1px solid var(--line);
         border-radius: 8px; padding: .5rem 1rem; }
  .row small { display: block; color: var(--quiet); }
  .plain { font: inherit; color: var(--accent); background: none; border: 0; padding: .5rem 0; cursor: pointer; text-decoration: underline; }
  footer { margin-top: 1rem; color: var(--quiet); font-size: .85rem; }
  code { font-size: .9em; }`;

/** The page on which one picks who to be. Works without JavaScript; each button is `name="user" value="<sub>"`. */
export function signInPage(options: {
  action: string;
  client: string;
  users: readonly ListedUser[];
}): string {
  const people = options.users
    .map(
      (user) => `
      <li><button class="person" type="submit" name="user" value="${escapeHtml(user.sub)}"${user.disabled ? ' disabled' : ''}>
        ${escapeHtml(user.name)} ${details(user)}</button></li>`,
    )
    .join('');
  return page(
    'Sign in · development identity provider',
    `<h1>Who do you want to be?</h1>
    <p><b>${escapeHtml(options.client)}</b> asks you to sign in. There are no passwords here.</p>
    <form method="post" action="${escapeHtml(options.action)}">
      <ul>${people}
      </ul>
      <button class="plain" type="submit" name="action" value="cancel">Cancel</button>
    </form>`,
  );
}

/** The page at `/`: who there is, and a way to disable somebody and watch what happens. */
export function overviewPage(options: { issuer: string; users: readonly ListedUser[] }): string {
  const people = options.users
    .map(
      (user) => `
      <li><form class="row" method="post" action="/users/${encodeURIComponent(user.sub)}">
        <span>${escapeHtml(user.name)} ${details(user)}</span>
        <button class="plain" type="submit" name="action" value="${user.disabled ? 'enable' : 'disable'}">${user.disabled ? 'Enable' : 'Disable'}</button>
      </form></li>`,
    )
    .join('');
  return page(
    'Development identity provider',
    `<h1>Development identity provider</h1>
    <p>Issuer <code>${escapeHtml(options.issuer)}</code> ·
      <a href="/.well-known/openid-configuration">discovery document</a></p>
    <ul>${people}
    </ul>
    <footer>Somebody disabled here cannot sign in, and loses running sessions when these are next refreshed.</footer>`,
  );
}

/** A page that says one thing. */
export function messagePage(title: string, text: string): string {
  return page(title, `<h1>${escapeHtml(title)}</h1><p>${escapeHtml(text)}</p>`);
}

function details(user: ListedUser): string {
  const notes = [
    user.email + (user.emailVerified ? '' : ' (not verified)'),
    `groups: ${user.groups.join(', ') || 'none'}`,
    ...(user.disabled ? ['disabled'] : []),
  ];
  return `<small>${notes.map(escapeHtml).join(' · ')}</small>`;
}

function page(title: string, content: string): string {
  return `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <title>${escapeHtml(title)}</title>
    <style>${STYLE}</style>
  </head>
  <body><main>${content}</main></body>
</html>
`;
}

function escapeHtml(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
