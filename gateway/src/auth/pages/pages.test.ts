import { describe, expect, it } from '@jest/globals';
import { renderPage } from '../../http/page.ts';
import { codeEntryPage } from './code-entry.ts';
import { confirmPage, type Confirmation } from './confirm.ts';
import * as outcomes from './outcome.ts';
import * as problems from './problems.ts';

const CONFIRMATION: Confirmation = {
  userCode: 'BCDF-GHJK',
  ticket: 'ticket',
  providers: [{ id: 'okta', label: 'Okta' }],
  request: { surface: 'claude_code', address: '203.0.113.7', addressMatch: 'same', age: 130 },
};

/** What a person reads: no tags, blanks as one. */
function textOf(confirmation: Partial<Confirmation>): string {
  return confirmPage({ ...CONFIRMATION, ...confirmation })
    .body.toString()
    .replace(/<[^>]*>/g, ' ')
    .replace(/\s+/g, ' ');
}

describe('confirmPage', () => {
  it('says who asks, from where and since when', () => {
    const text = textOf({});
    expect(text).toContain('Asked by Claude Code');
    expect(text).toContain(
      'From 203.0.113.7 (the same network address as your browser; other people may share it)',
    );
    expect(text).toContain('When 2 minutes ago');
    expect(text).not.toContain('different network address');
  });

  it('warns when the device is elsewhere', () => {
    const request = { ...CONFIRMATION.request, address: '198.51.100.1', addressMatch: 'different' } as const;
    const text = textOf({ request });
    expect(text).toContain('This request came from a different network address than your browser.');
    expect(text).not.toContain('the same network address');
  });

  it('says nothing about a device that did not say what it is', () => {
    const text = textOf({ request: { ...CONFIRMATION.request, surface: null } });
    expect(text).not.toContain('Asked by');
    expect(text).toContain('From 203.0.113.7');
  });

  it.each([
    [0, 'less than a minute ago'],
    [60, 'a minute ago'],
    [119, 'a minute ago'],
    [599, '9 minutes ago'],
  ])('counts %d seconds as %s', (age, words) => {
    expect(textOf({ request: { ...CONFIRMATION.request, age } })).toContain(`When ${words}`);
  });

  it('has one button for one provider, and names them when there is a choice', () => {
    expect(textOf({})).toContain('Yes, continue to sign in No, reject it');
    const providers = [
      { id: 'a', label: 'Okta' },
      { id: 'b', label: 'Partners' },
    ];
    expect(textOf({ providers })).toContain(
      'Yes, sign in with Okta Yes, sign in with Partners No, reject it',
    );
  });

  it('reads the code out letter by letter', () => {
    const markup = confirmPage(CONFIRMATION).body.toString();
    expect(markup).toContain('<span aria-hidden="true">BCDF-GHJK</span>');
    expect(markup).toContain('<span class="hidden">B C D F, G H J K</span>');
  });

  it('escapes what a device, an organisation or a configuration says', () => {
    const markup = confirmPage({
      ...CONFIRMATION,
      providers: ['a', 'b'].map((id) => ({ id: `${id}"<`, label: '<i>' })),
      request: { surface: '<s>', address: '<a>', addressMatch: 'unclear', age: 0 },
      notice: { text: '<u>', host: '<h>' },
    }).body.toString();
    expect(markup).not.toMatch(/<[isauh]>/);
    expect(markup).toContain('value="a&quot;&lt;"');
  });
});

describe('codeEntryPage', () => {
  it('ties the problem to the field for assistive technology, and says it in the title', () => {
    const { title, body } = codeEntryPage({ ticket: 't', value: 'x', problem: 'Too <short>.' });
    const markup = body.toString();
    expect(title).toBe('Check your code');
    expect(markup).toContain('aria-describedby="problem hint"');
    expect(markup).toContain('aria-invalid="true"');
    expect(markup).toContain('<p class="error" id="problem" role="alert">Too &lt;short&gt;.</p>');
    expect(markup).toContain('<label for="user_code">');
  });

  it('shows no problem where there is none', () => {
    const markup = codeEntryPage({ ticket: 't' }).body.toString();
    expect(markup).toContain('aria-describedby="hint"');
    expect(markup).not.toMatch(/aria-invalid|role="alert"/);
  });
});

describe('every page', () => {
  it.each([
    ['signed in', outcomes.signedInPage('Ada', 'Okta')],
    ['denied', outcomes.deniedPage()],
    ['not waiting', outcomes.notWaitingPage()],
    ['cross origin', problems.crossOriginPage()],
    ['stale form', problems.staleFormPage()],
    ['too many attempts', problems.tooManyAttemptsPage(61, 'wrong')],
    ['too many people', problems.tooManyAttemptsPage(61, 'right')],
    ['too many requests', problems.tooManyRequestsPage(2)],
    ['too many sign-ins', problems.tooManySignInsPage()],
    ['store away', problems.storeAwayPage()],
    ['provider away', problems.providerAwayPage('BCDF-GHJK')],
    ['refused', problems.refusedPage('No.', 'BCDF-GHJK')],
    ['unknown sign-in', problems.unknownSignInPage()],
    ['other browser', problems.otherBrowserPage()],
    ['unexpected', problems.unexpectedPage(500)],
  ])('%s has one heading, a title and a status that agree', (_which, page) => {
    const document = renderPage(page);
    expect(document.match(/<h1>/g)).toHaveLength(1);
    expect(page.title).not.toBe('');
    expect(page.status >= 400).toBe(document.includes('role="alert"'));
  });

  it('speaks of minutes, not seconds', () => {
    expect(problems.tooManyAttemptsPage(61, 'wrong').body.toString()).toContain('2 minutes');
    expect(problems.tooManyAttemptsPage(60, 'right').body.toString()).toContain('a minute');
  });
});
