import type { Request, RequestHandler, Response } from 'express';
import { contextOf } from '../../http/context.ts';
import { pageHeaders } from '../../http/page.ts';
import { IdentityProviderUnavailable, SignInRefused } from '../oidc/errors.ts';
import type { SignedIn } from '../oidc/provider.ts';
import { notWaitingPage } from '../pages/outcome.ts';
import {
  otherBrowserPage,
  providerAwayPage,
  refusedPage,
  staleFormPage,
  tooManySignInsPage,
  unexpectedPage,
  unknownSignInPage,
} from '../pages/problems.ts';
import { IDP_REFRESH_TOKEN } from '../session/sealer.ts';
import { answerPage, audit, auditDenied } from './answers.ts';
import { BrowserCookie, sameBrowser } from './browser.ts';
import type { DeviceDependencies, SignInProvider } from './dependencies.ts';
import { field } from './form.ts';
import { createSecret } from './secrets.ts';
import { redirectToSignedIn } from './signed-in.ts';
import { exceeds } from '../limits/rate-limit.ts';
import { holderOf } from '../session/session-holder.ts';
import { TokenTooLarge } from '../session/tokens.ts';
import { digest } from '../digest.ts';

/** How often one code may be taken to an identity provider: room for mistakes, not for filling the store. */
const SIGN_INS_PER_GRANT = { max: 20, window_seconds: 600 };

/** As long as the id of a session, which begins later. */
const NO_SESSION = '00000000-0000-0000-0000-000000000000';

const PURPOSE = 'device-sign-in';
/** What a sign-in under way must remember, sealed in the store. */
interface SignInMemory {
  readonly nonce: string;
  readonly codeVerifier: string;
  readonly userCode: string;
}

/** Sends the browser to the chosen identity provider. Everything that the way back needs is in the store. */
export async function startSignIn(
  deps: DeviceDependencies,
  request: Request,
  response: Response,
  { grantId, userCode }: { grantId: string; userCode: string },
): Promise<void> {
  const { publicUrl } = deps.settings();
  const now = deps.clock();
  const browser = new BrowserCookie(publicUrl).issue(request, response);
  const provider = chosenProvider(deps.providers(), field(request.body, 'provider'));
  if (provider === undefined) return answerPage(deps, request, response, staleFormPage());

  const wait = await exceeds(deps.rateLimits, `device_sign_in:${grantId}`, SIGN_INS_PER_GRANT, now);
  if (wait !== undefined) {
    audit(deps, request, 'rate_limited', { provider: provider.id });
    const headers = { 'retry-after': String(wait) };
    return answerPage(deps, request, response, tooManySignInsPage(), { headers });
  }
  // The code may have been used or denied since the page was shown: say so before the person types a password.
  const grant = await deps.grants.findByUserCode(digest(userCode), now);
  if (grant === null || grant.id !== grantId || grant.status !== 'pending') {
    audit(deps, request, 'not_pending', { provider: provider.id });
    return answerPage(deps, request, response, notWaitingPage());
  }

  const state = createSecret();
  const memory: SignInMemory = { nonce: createSecret(), codeVerifier: createSecret(), userCode };
  let location: URL;
  try {
    location = await provider.authorizationUrl({ state, ...memory });
  } catch (error) {
    return answerProviderFailure(deps, request, response, provider, userCode, error);
  }
  await deps.grants.startSignIn({
    stateHash: digest(state),
    browserHash: browser,
    grantId,
    provider: provider.id,
    secretsSealed: deps.sealer.seal(PURPOSE, JSON.stringify(memory)),
    expiresAt: grant.expiresAt,
  });
  audit(deps, request, 'redirect', { provider: provider.id });
  response
    .status(303)
    .set(pageHeaders({ secure: publicUrl.startsWith('https:') }))
    .set('location', location.href)
    .end();
}

/** `GET /oauth/callback`: the browser is back from the identity provider, once. */
export function finishSignIn(deps: DeviceDependencies): RequestHandler {
  return async (request, response) => {
    const { publicUrl } = deps.settings();
    const now = deps.clock();
    const state = field(request.query, 'state');
    const attempt = state === undefined ? null : await deps.grants.takeSignIn(digest(state), now);
    if (state === undefined || attempt === null) {
      audit(deps, request, 'unknown_state');
      return answerPage(deps, request, response, unknownSignInPage());
    }
    if (!sameBrowser(new BrowserCookie(publicUrl).read(request), attempt.browserHash)) {
      auditDenied(deps, request, 'other_browser', { provider: attempt.provider });
      return answerPage(deps, request, response, otherBrowserPage());
    }
    const provider = deps.providers().find(({ id }) => id === attempt.provider);
    const memory = recall(deps, attempt.secretsSealed);
    if (provider === undefined || memory === undefined) {
      // The configuration changed while the person was away: a provider went, or the key that sealed this.
      audit(deps, request, 'unknown_state', { provider: attempt.provider });
      return answerPage(deps, request, response, unknownSignInPage());
    }

    const { userCode, ...secrets } = memory;
    let signedIn: SignedIn;
    try {
      signedIn = await provider.exchange(callbackUrl(publicUrl, request), { state, ...secrets });
      await deps.assertMintable(holderOf(signedIn.identity, NO_SESSION));
    } catch (error) {
      return answerProviderFailure(deps, request, response, provider, userCode, error);
    }
    const { identity, refreshToken } = signedIn;
    const sealed = refreshToken === null ? null : deps.sealer.seal(IDP_REFRESH_TOKEN, refreshToken);
    const approved = await deps.grants.approve(attempt.grantId, identity, sealed, deps.clock());
    audit(deps, request, approved ? 'success' : 'not_pending', {
      provider: provider.id,
      sub: identity.sub,
      email: identity.email,
    });
    if (!approved) return answerPage(deps, request, response, notWaitingPage());
    const person = identity.email ?? identity.name ?? identity.sub;
    const label = deps.providers().length > 1 ? provider.label : undefined;
    redirectToSignedIn(deps, response, { person, provider: label }, attempt.browserHash);
  };
}

/** With one provider there is nothing to choose. */
function chosenProvider(
  providers: readonly SignInProvider[],
  choice: string | undefined,
): SignInProvider | undefined {
  if (choice === undefined && providers.length === 1) return providers[0];
  return providers.find(({ id }) => id === choice);
}

function recall(deps: DeviceDependencies, sealed: Buffer): SignInMemory | undefined {
  try {
    return JSON.parse(deps.sealer.open(PURPOSE, sealed).toString()) as SignInMemory;
  } catch {
    return undefined;
  }
}

/** Our own origin with the query that came back; the rest of the request target is not believed. */
function callbackUrl(publicUrl: string, request: Request): URL {
  const query = request.originalUrl.indexOf('?');
  const url = new URL(`${publicUrl}/oauth/callback`);
  url.search = query === -1 ? '' : request.originalUrl.slice(query);
  return url;
}

/** The grant stays as it was: the person can try again while the device waits. */
function answerProviderFailure(
  deps: DeviceDependencies,
  request: Request,
  response: Response,
  provider: SignInProvider,
  userCode: string,
  error: unknown,
): void {
  const { id, log } = contextOf(request);
  const fields = { provider: provider.id };
  if (error instanceof TokenTooLarge) {
    const refusal = new SignInRefused('too_many_groups', error.message, error.detail, { cause: error });
    return answerProviderFailure(deps, request, response, provider, userCode, refusal);
  }
  if (error instanceof SignInRefused) {
    auditDenied(deps, request, error.reason, fields);
    log.warn({ request_id: id, ...fields, reason: error.reason, detail: error.detail }, 'sign-in refused');
    return answerPage(deps, request, response, refusedPage(error.message, userCode));
  }
  if (error instanceof IdentityProviderUnavailable) {
    audit(deps, request, 'provider_unavailable', fields);
    log.error({ request_id: id, ...fields, detail: error.detail }, 'identity provider unavailable');
    return answerPage(deps, request, response, providerAwayPage(userCode));
  }
  audit(deps, request, 'error', fields);
  log.error({ request_id: id, ...fields, err: error }, 'sign-in failed');
  answerPage(deps, request, response, unexpectedPage(500));
}
