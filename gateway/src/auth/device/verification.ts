import type { DeviceGrant } from '@claude-gateway/prisma';
import type { Request, RequestHandler, Response } from 'express';
import { contextOf } from '../../http/context.ts';
import { codeEntryPage } from '../pages/code-entry.ts';
import { confirmPage, type RequestOrigin } from '../pages/confirm.ts';
import { deniedPage, notWaitingPage } from '../pages/outcome.ts';
import { crossOriginPage, staleFormPage, tooManyAttemptsPage } from '../pages/problems.ts';
import { answerPage, audit, auditDenied } from './answers.ts';
import { BrowserCookie, isSameOrigin } from './browser.ts';
import type { DeviceDependencies } from './dependencies.ts';
import { field } from './form.ts';
import { startSignIn } from './sign-in.ts';
import { clientNetwork, isClientAddressKnown } from '../../http/client-address.ts';
import { exceeds, isExceeded } from '../limits/rate-limit.ts';
import { openTicket, sealTicket, type Ticket } from './ticket.ts';
import { normaliseUserCode } from './user-code.ts';
import { digest } from '../digest.ts';

/** A form that asks for the code stays good as long as the browser's cookie. */
const ENTRY_MS = 3_600_000;

const UNKNOWN_CODE = 'This code is not valid. It may have expired; check it against your terminal.';
const MALFORMED_CODE = 'That is not a complete code. It has eight letters, such as BCDF-GHJK.';
const EXPIRED_FORM = 'This page was open for too long. Compare the code and press Continue again.';

/** The browser's side of the device grant (RFC 8628 §3.3): which code, is it yours, who are you. */
export function createVerification(deps: DeviceDependencies): {
  show: RequestHandler;
  submit: RequestHandler;
  deny: RequestHandler;
} {
  return {
    /** `GET /device`: asks for the code or, when the link carries one, whether it is the person's own. */
    async show(request, response) {
      const given = field(request.query, 'user_code');
      if (given === undefined || given === '') return askForCode(deps, request, response, {});
      const userCode = normaliseUserCode(given);
      if (userCode === undefined) {
        return askAgain(deps, request, response, given);
      }
      // What another site embeds, or a browser fetches ahead of time, must not use up the person's attempts.
      if (!isNavigation(request)) return askForCode(deps, request, response, { value: userCode });
      await confirmCode(deps, request, response, userCode);
    },

    /** `POST /device`: the code from the form, or the decision to go on. */
    async submit(request, response) {
      const ticket = acceptForm(deps, request, response);
      if (ticket === undefined) return;
      if (ticket.grantId !== null && ticket.userCode !== null) {
        return startSignIn(deps, request, response, { grantId: ticket.grantId, userCode: ticket.userCode });
      }
      const given = field(request.body, 'user_code') ?? '';
      const userCode = normaliseUserCode(given);
      if (userCode === undefined) {
        return askAgain(deps, request, response, given);
      }
      await confirmCode(deps, request, response, userCode);
    },

    /** `POST /device/deny`: ends the device's wait at once. */
    async deny(request, response) {
      const ticket = acceptForm(deps, request, response);
      if (ticket === undefined) return;
      if (ticket.grantId === null) return answerPage(deps, request, response, staleFormPage());
      const denied = await deps.grants.deny(ticket.grantId, deps.clock());
      audit(deps, request, denied ? 'denied' : 'not_pending');
      answerPage(deps, request, response, denied ? deniedPage() : notWaitingPage());
    },
  };
}

/** @returns the form's ticket; undefined when the request has been answered instead. */
function acceptForm(deps: DeviceDependencies, request: Request, response: Response): Ticket | undefined {
  const { publicUrl } = deps.settings();
  if (!isSameOrigin(request, publicUrl)) {
    auditDenied(deps, request, 'cross_origin');
    answerPage(deps, request, response, crossOriginPage());
    return undefined;
  }
  const browser = new BrowserCookie(publicUrl).read(request);
  const ticket = openTicket(deps.sealer, field(request.body, 'ticket'), browser, deps.clock());
  if (ticket !== undefined) return ticket;
  auditDenied(deps, request, 'invalid_ticket');
  const typed = field(request.body, 'user_code');
  if (typed === undefined) answerPage(deps, request, response, staleFormPage());
  else askForCode(deps, request, response, { value: typed.slice(0, 32), problem: EXPIRED_FORM, status: 403 });
  return undefined;
}

function askForCode(
  deps: DeviceDependencies,
  request: Request,
  response: Response,
  { value, problem, status }: { value?: string; problem?: string; status?: number },
): void {
  const browser = new BrowserCookie(deps.settings().publicUrl).issue(request, response);
  const expires = new Date(deps.clock().getTime() + ENTRY_MS);
  const ticket = sealTicket(deps.sealer, { userCode: null, grantId: null }, browser, expires);
  const page = { ...codeEntryPage({ ticket, value, problem }), ...(status !== undefined && { status }) };
  answerPage(deps, request, response, page, { forms: true });
}

/** What was typed is no code: shown again with what is wrong. */
function askAgain(deps: DeviceDependencies, request: Request, response: Response, typed: string): void {
  askForCode(deps, request, response, { value: typed.slice(0, 32), problem: MALFORMED_CODE, status: 400 });
}

/**
 * Looks a code up and asks whether it is the person's own. Wrong codes and right ones have a limit each: an office
 * behind one address signs in on one morning, and somebody who guesses is wrong (docs/adr/0023 has the odds).
 */
async function confirmCode(
  deps: DeviceDependencies,
  request: Request,
  response: Response,
  userCode: string,
): Promise<void> {
  const { clientAddress, trustedProxies } = contextOf(request);
  const { publicUrl, loginNotice, rateLimits } = deps.settings();
  const now = deps.clock();
  const refuse = (wait: number, codes: 'wrong' | 'right'): void => {
    audit(deps, request, 'rate_limited');
    const headers = { 'retry-after': String(wait) };
    answerPage(deps, request, response, tooManyAttemptsPage(wait, codes), { headers });
  };
  const address = clientNetwork(clientAddress);
  const wrongCodes = `device_verify:${address}`;
  const blocked = await isExceeded(deps.rateLimits, wrongCodes, rateLimits.device_verify, now);
  if (blocked !== undefined) return refuse(blocked, 'wrong');
  const grant = await deps.grants.findByUserCode(digest(userCode), now);
  const wait =
    grant === null
      ? await exceeds(deps.rateLimits, wrongCodes, rateLimits.device_verify, now)
      : await exceeds(deps.rateLimits, `device_confirm:${address}`, rateLimits.device_confirm, now);
  if (wait !== undefined) return refuse(wait, grant === null ? 'wrong' : 'right');
  if (grant === null) {
    audit(deps, request, 'unknown_code');
    return askForCode(deps, request, response, { value: userCode, problem: UNKNOWN_CODE, status: 404 });
  }
  if (grant.status !== 'pending') {
    audit(deps, request, 'not_pending');
    return answerPage(deps, request, response, notWaitingPage());
  }
  audit(deps, request, 'confirm');
  const browser = new BrowserCookie(publicUrl).issue(request, response);
  const page = confirmPage({
    userCode,
    ticket: sealTicket(deps.sealer, { userCode, grantId: grant.id }, browser, grant.expiresAt),
    providers: deps.providers(),
    request: originOf(grant, isClientAddressKnown(request, trustedProxies) ? clientAddress : '', now),
    notice: loginNotice === undefined ? undefined : { text: loginNotice, host: new URL(publicUrl).host },
  });
  answerPage(deps, request, response, page, { forms: true });
}

/** @param browserAddress Empty when it may be a proxy's. */
function originOf(grant: DeviceGrant, browserAddress: string, now: Date): RequestOrigin {
  const { surface, clientAddress, createdAt } = grant;
  return {
    surface,
    address: clientAddress === '' ? null : clientAddress,
    addressMatch: compareAddresses(clientAddress, browserAddress),
    age: Math.max(0, Math.floor((now.getTime() - createdAt.getTime()) / 1000)),
  };
}

/**
 * A machine may use IPv4 for one program and IPv6 for another: across families nothing can be said, nor of an address
 * that may be a proxy's.
 */
function compareAddresses(device: string, browser: string): RequestOrigin['addressMatch'] {
  if (device === '' || browser === '') return 'unclear';
  if (device.includes(':') !== browser.includes(':')) return 'unclear';
  return clientNetwork(device) === clientNetwork(browser) ? 'same' : 'different';
}

function isNavigation(request: Request): boolean {
  const destination = request.headers['sec-fetch-dest'] ?? 'document';
  return destination === 'document' && request.headers['sec-purpose'] === undefined;
}
