import { expect, it } from '@jest/globals';
import { reasonToSignInAgain } from './reasons.ts';

it.each([
  ['admin', /administrator/],
  ['sign_out', /You signed out/],
  ['refresh_token_reused', /two places/],
  ['refresh:idp_session_ended', /account may have been disabled/],
  ['refresh:provider_removed', /no longer configured/],
  ['something newer', /^This session was ended/],
  [undefined, /^This session was ended/],
])('says what %s means, and what to do', (reason, words) => {
  expect(reasonToSignInAgain(reason)).toMatch(words);
  expect(reasonToSignInAgain(reason)).toContain('Run /login');
});
