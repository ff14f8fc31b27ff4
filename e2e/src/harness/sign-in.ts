import { setTimeout as sleep } from 'node:timers/promises';
import { formsOf, HttpSession, type Page } from './http-session.ts';

export interface Tokens {
  readonly accessToken: string;
  readonly refreshToken: string | undefined;
  readonly expiresIn: number;
  readonly email: string | undefined;
}

/** What `POST /oauth/device_authorization` answers. */
export interface DeviceAuthorization {
  readonly device_code: string;
  readonly user_code: string;
  readonly verification_uri: string;
  readonly verification_uri_complete: string;
  readonly expires_in: number;
  readonly interval: number;
}

const DEVICE_GRANT = 'urn:ietf:params:oauth:grant-type:device_code';

/** Posts a form to the token endpoint. */
export function postToken(gateway: string, form: Record<string, string>): Promise<Response> {
  return fetch(`${gateway}/oauth/token`, { method: 'POST', body: new URLSearchParams(form) });
}

export async function authorizeDevice(gateway: string): Promise<DeviceAuthorization> {
  const response = await fetch(`${gateway}/oauth/device_authorization`, {
    method: 'POST',
    body: new URLSearchParams({ surface: 'claude_code' }),
  });
  if (response.status !== 200)
    throw new Error(`device_authorization: ${response.status} ${await response.text()}`);
  return (await response.json()) as DeviceAuthorization;
}

/**
 * Walks a person through every page from the verification page on: confirms the code, picks `sub` at the development
 * identity provider. @returns the last page.
 */
export async function approve(
  device: DeviceAuthorization,
  sub: string,
  browser = new HttpSession(),
): Promise<Page> {
  let page = await browser.get(device.verification_uri_complete);
  for (let step = 0; step < 8; step++) {
    const forms = formsOf(page);
    const choice = forms
      .flatMap((form) => form.buttons.map((button) => ({ form, button })))
      .find(({ button, form }) =>
        button.name === 'user'
          ? button.value === sub
          : !/deny|cancel/i.test(`${form.action} ${button.value} ${button.text} ${button.formAction ?? ''}`),
      );
    if (choice === undefined) return page;
    page = await browser.submit(page, choice.form, {}, choice.button);
  }
  throw new Error(`sign-in does not end; last page: ${page.status} ${page.url}\n${page.body}`);
}

/** Polls as a client does, until the answer is not "pending". */
export async function poll(gateway: string, device: DeviceAuthorization): Promise<Response> {
  let interval = device.interval;
  for (;;) {
    const response = await postToken(gateway, { grant_type: DEVICE_GRANT, device_code: device.device_code });
    if (response.status === 200) return response;
    const { error } = (await response.clone().json()) as { error: string };
    if (error !== 'authorization_pending' && error !== 'slow_down') return response;
    if (error === 'slow_down') interval += 5;
    await sleep(interval * 1000);
  }
}

/** A whole sign-in without a screen. @throws Error with the page or answer that ended it. */
export async function signIn(gateway: string, sub: string): Promise<Tokens> {
  const device = await authorizeDevice(gateway);
  const page = await approve(device, sub);
  if (page.status !== 200) throw new Error(`sign-in of ${sub} failed: ${page.status}\n${page.body}`);
  const response = await postToken(gateway, { grant_type: DEVICE_GRANT, device_code: device.device_code });
  return tokensOf(response);
}

export async function tokensOf(response: Response): Promise<Tokens> {
  const body = (await response.json()) as Record<string, unknown>;
  if (response.status !== 200) throw new Error(`token endpoint: ${response.status} ${JSON.stringify(body)}`);
  return {
    accessToken: body['access_token'] as string,
    refreshToken: body['refresh_token'] as string | undefined,
    expiresIn: body['expires_in'] as number,
    email: body['email'] as string | undefined,
  };
}
