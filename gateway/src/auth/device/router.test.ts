import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { request } from 'undici';
import { IdentityProviderUnavailable, SignInRefused } from '../oidc/errors.ts';
import {
  authorize,
  Browser,
  callbackOf,
  headingOf,
  ScriptedProvider,
  SEALER,
  startReplica,
  ticketOf,
  type Answer,
  type Replica,
  type ReplicaOptions,
} from './testing/harness.ts';
import { digest } from '../digest.ts';
import { useStores } from '../../testing/stores.ts';

const database = useStores();

let idp: ScriptedProvider;
let replica: Replica;
let replicas: Replica[] = [];
/** Every test comes from addresses of its own, since limits per address outlive it. */
let subnet = 0;
let device: string;
let browser: Browser;

async function start(options: Partial<ReplicaOptions> = {}): Promise<Replica> {
  const started = await startReplica({ store: database.store, providers: [idp], ...options });
  replicas.push(started);
  return started;
}

beforeEach(async () => {
  subnet++;
  device = `10.1.${subnet}.1`;
  browser = new Browser(device);
  idp = new ScriptedProvider('idp');
  replica = await start();
});
afterEach(async () => {
  await Promise.all(replicas.map((each) => each.stop()));
  replicas = [];
});

/** From a fresh code to the page that asks whether it is the person's own. */
async function confirmationPage(
  at = replica,
): Promise<{ page: Answer; userCode: string; deviceCode: string }> {
  const { json } = await authorize(at, device);
  const userCode = json['user_code'] ?? '';
  const page = await browser.get(at.origin, `/device?user_code=${userCode}`);
  return { page, userCode, deviceCode: json['device_code'] ?? '' };
}

function poll(deviceCode: string, secondsLater = 0) {
  return database.store.deviceGrants.poll(digest(deviceCode), new Date(Date.now() + secondsLater * 1000));
}

function results(event: string, at = replica): unknown[] {
  return at.audited.filter(({ evt }) => evt === event).map(({ result, reason }) => result ?? reason);
}

describe('POST /oauth/device_authorization', () => {
  it('hands out codes that lead to this gateway', async () => {
    const { status, headers, json } = await authorize(replica, device);
    expect(status).toBe(200);
    expect(headers['cache-control']).toBe('no-store');
    expect(headers['content-type']).toMatch(/^application\/json/);
    expect(json).toEqual({
      device_code: expect.stringMatching(/^[A-Za-z0-9_-]{43}$/),
      user_code: expect.stringMatching(/^[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}$/),
      verification_uri: `${replica.origin}/device`,
      verification_uri_complete: `${replica.origin}/device?user_code=${json['user_code']}`,
      expires_in: 600,
      interval: 5,
    });
    expect(await poll(json['device_code'] ?? '')).toEqual({ state: 'authorization_pending' });
    expect(replica.audited).toEqual([
      expect.objectContaining({
        evt: 'device.authorize',
        result: 'success',
        surface: 'claude_code',
        client_ip: device,
        request_id: headers['request-id'],
      }),
    ]);
  });

  it.each([
    ['nothing', undefined, undefined],
    ['an empty form', 'application/x-www-form-urlencoded', ''],
    [
      'fields that nobody knows',
      'application/x-www-form-urlencoded',
      'client_id=x&scope=a+b&__proto__=1&a[b]=c',
    ],
    ['a field that came twice', 'application/x-www-form-urlencoded', 'surface=a&surface=b'],
    ['JSON', 'application/json', '{}'],
    ['bytes that are no text', 'application/octet-stream', Buffer.from([0, 255, 37, 37, 0])],
  ])('ignores %s', async (_what, type, body) => {
    const answer = await request(`${replica.origin}/oauth/device_authorization`, {
      method: 'POST',
      headers: { 'x-forwarded-for': device, ...(type !== undefined && { 'content-type': type }) },
      body: body ?? null,
    });
    expect(answer.statusCode).toBe(200);
    await answer.body.dump();
    expect(replica.audited.at(-1)).toMatchObject({ result: 'success', surface: null });
  });

  it('passes the notice on', async () => {
    const strict = await start({ settings: { loginNotice: 'For employees <only>' } });
    expect((await authorize(strict, device)).json['login_notice']).toBe('For employees <only>');
  });

  it('does not record a surface that is a sentence', async () => {
    await authorize(replica, device, 'surface=Call+the+help+desk');
    expect(replica.audited.at(-1)).toMatchObject({ surface: null });
  });

  it('refuses a body that is no sign-in form by its size', async () => {
    const { status, json } = await authorize(replica, device, `surface=${'x'.repeat(20_000)}`);
    expect(status).toBe(413);
    expect(json['error']).toBe('invalid_request');
  });

  it('limits how many codes one address may ask for, over all replicas', async () => {
    const settings = {
      rateLimits: {
        device_authorization: { max: 2, window_seconds: 600 },
        device_verify: { max: 10, window_seconds: 600 },
        device_confirm: { max: 1000, window_seconds: 600 },
      },
    };
    // A window of the wall clock must not end in between.
    const moment = new Date();
    const clock = () => moment;
    const [one, other] = [await start({ settings, clock }), await start({ settings, clock })];
    expect((await authorize(one, device)).status).toBe(200);
    expect((await authorize(other, device)).status).toBe(200);
    const refused = await authorize(one, device);
    expect(refused.status).toBe(429);
    expect(refused.json['error']).toBe('slow_down');
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0);
    expect(Number(refused.headers['retry-after'])).toBeLessThanOrEqual(600);
    expect((await authorize(one, `10.2.${subnet}.1`)).status).toBe(200);
    expect(results('device.authorize', one)).toEqual(['success', 'rate_limited', 'success']);
  });
});

describe('the way of one sign-in', () => {
  it('leads from the link over one question to the identity provider and back', async () => {
    const { page, userCode, deviceCode } = await confirmationPage();
    expect(page.status).toBe(200);
    expect(page.text).toContain(`<span aria-hidden="true">${userCode}</span>`);
    expect(results('device.verify')).toEqual(['confirm']);
    expect(await poll(deviceCode)).toEqual({ state: 'authorization_pending' });

    const redirect = await browser.post(replica.origin, '/device', {
      ticket: ticketOf(page),
      provider: 'idp',
    });
    expect(redirect.status).toBe(303);
    expect(redirect.headers['cache-control']).toBe('no-store');
    const location = String(redirect.headers['location']);
    expect(location).toMatch(/^https:\/\/idp\.example\/authorize\?/);
    expect(location).not.toContain(userCode);

    const done = await browser.get(replica.origin, callbackOf(location));
    expect(done.status).toBe(200);
    expect(headingOf(done)).toBe('You are signed in');
    expect(done.text).toContain('<bdi>ada@corp.example</bdi>');
    expect(done.text).not.toContain('refresh token of the provider');

    const approved = await poll(deviceCode, 10);
    expect(approved).toMatchObject({ state: 'approved', identity: { sub: 'u-ada', groups: ['dev'] } });
    if (approved.state !== 'approved' || approved.idpRefreshTokenSealed === null) throw new Error('no token');
    expect(SEALER.open('idp-refresh-token', approved.idpRefreshTokenSealed).toString()).toBe(
      'refresh token of the provider',
    );
    expect(results('device.verify')).toEqual(['confirm', 'redirect', 'success']);
    expect(replica.audited.at(-1)).toMatchObject({
      sub: 'u-ada',
      email: 'ada@corp.example',
      provider: 'idp',
    });
  });

  it('leads from a typed code over the same question', async () => {
    const { json } = await authorize(replica, device);
    const typed = (json['user_code'] ?? '').toLowerCase().replace('-', ' ');
    const form = await browser.get(replica.origin, '/device');
    expect(form.text).toMatch(/<input\s[^>]*name="user_code"/);
    const page = await browser.post(replica.origin, '/device', { ticket: ticketOf(form), user_code: typed });
    expect(headingOf(page)).toBe('Does your terminal show this code?');
    expect(page.text).toContain(json['user_code']);
  });

  it('may meet another replica at every step', async () => {
    const other = await start({ settings: { publicUrl: replica.origin } });
    const { json } = await authorize(other, device);
    const form = await browser.get(replica.origin, '/device');
    const page = await browser.post(other.origin, '/device', {
      ticket: ticketOf(form),
      user_code: json['user_code'] ?? '',
    });
    const redirect = await browser.post(replica.origin, '/device', { ticket: ticketOf(page) });
    const done = await browser.get(other.origin, callbackOf(String(redirect.headers['location'])));
    expect(headingOf(done)).toBe('You are signed in');
    expect(await poll(json['device_code'] ?? '')).toMatchObject({ state: 'approved' });
  });

  it('offers every identity provider and goes to the chosen one', async () => {
    const partner = new ScriptedProvider('partner', 'Partners & <friends>');
    const both = await start({ providers: [idp, partner] });
    const { page } = await confirmationPage(both);
    expect(page.text).toMatch(/name="provider" value="idp"/);
    expect(page.text).toContain('<bdi>Partners &amp; &lt;friends&gt;</bdi>');
    expect(page.headers['content-security-policy']).toContain(
      "form-action 'self' https://idp.example https://partner.example;",
    );
    const unknown = await browser.post(both.origin, '/device', {
      ticket: ticketOf(page),
      provider: 'nobody',
    });
    expect(unknown.status).toBe(403);
    const redirect = await browser.post(both.origin, '/device', {
      ticket: ticketOf(page),
      provider: 'partner',
    });
    expect(redirect.headers['location']).toMatch(/^https:\/\/partner\.example\//);
    const done = await browser.get(both.origin, callbackOf(String(redirect.headers['location'])));
    expect(done.text).toContain('with <bdi>Partners &amp; &lt;friends&gt;</bdi>');
    expect(idp.exchanges).toHaveLength(0);
  });

  it('ends with a denial at once', async () => {
    const { page, deviceCode } = await confirmationPage();
    const denied = await browser.post(replica.origin, '/device/deny', { ticket: ticketOf(page) });
    expect([denied.status, headingOf(denied)]).toEqual([200, 'Sign-in rejected']);
    expect(await poll(deviceCode)).toEqual({ state: 'access_denied' });
    const again = await browser.post(replica.origin, '/device', { ticket: ticketOf(page) });
    expect([again.status, headingOf(again)]).toEqual([410, 'This code is no longer valid']);
    expect(results('device.verify')).toEqual(['confirm', 'denied', 'not_pending']);
  });
});

describe('a page that must not be trusted to', () => {
  it('never submits by itself', async () => {
    const { page, deviceCode } = await confirmationPage();
    expect(page.text).not.toMatch(/<script|http-equiv|onload/i);
    expect(await poll(deviceCode)).toEqual({ state: 'authorization_pending' });
  });

  it('forbids everything but its style and its form', async () => {
    const { page } = await confirmationPage();
    expect(page.headers['content-security-policy']).toMatch(
      /^default-src 'none'; style-src 'sha256-[A-Za-z0-9+/]{43}='; form-action 'self' https:\/\/idp\.example; frame-ancestors 'none'; base-uri 'none'$/,
    );
    expect(page.headers).toMatchObject({ 'cache-control': 'no-store', 'referrer-policy': 'no-referrer' });
  });

  it('shows what a link carries as text', async () => {
    const link = `/device?user_code=${encodeURIComponent('"><script>alert(1)</script>')}`;
    const page = await browser.get(replica.origin, link);
    expect(page.status).toBe(400);
    expect(page.text).toContain('value="&quot;&gt;&lt;script&gt;');
    expect(page.text).not.toContain('<script');
  });

  it('shows who signs in as text', async () => {
    idp.outcome = {
      identity: { sub: 'x', provider: 'idp', email: null, name: '<img src=x>', groups: [] },
      refreshToken: null,
    };
    const { page } = await confirmationPage();
    const redirect = await browser.post(replica.origin, '/device', { ticket: ticketOf(page) });
    const done = await browser.get(replica.origin, callbackOf(String(redirect.headers['location'])));
    expect(done.text).toContain('<bdi>&lt;img src=x&gt;</bdi>');
  });

  it.each<[string, Record<string, string>]>([
    ['another site', { 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' }],
    ['a neighbour', { 'sec-fetch-site': 'same-site', origin: 'http://127.0.0.1:1' }],
    ['nowhere', {}],
  ])('takes no form from %s', async (_where, headers) => {
    const { page, deviceCode } = await confirmationPage();
    for (const path of ['/device', '/device/deny']) {
      const answer = await browser.post(replica.origin, path, { ticket: ticketOf(page) }, headers);
      expect([answer.status, headingOf(answer)]).toEqual([403, 'This request was blocked']);
    }
    expect(await poll(deviceCode)).toEqual({ state: 'authorization_pending' });
    expect(results('auth.denied')).toEqual(['cross_origin', 'cross_origin']);
  });

  it('takes no form that was made for another browser', async () => {
    const { page, deviceCode } = await confirmationPage();
    const victim = new Browser(`10.2.${subnet}.2`);
    await victim.get(replica.origin, '/device');
    for (const path of ['/device', '/device/deny']) {
      const answer = await victim.post(replica.origin, path, { ticket: ticketOf(page) });
      expect([answer.status, headingOf(answer)]).toEqual([403, 'This page is out of date']);
    }
    expect(await poll(deviceCode)).toEqual({ state: 'authorization_pending' });
    expect(results('auth.denied')).toEqual(['invalid_ticket', 'invalid_ticket']);
  });

  it('asks again, with the code kept, when the form is too old', async () => {
    const { json } = await authorize(replica, device);
    const typed = json['user_code'] ?? '';
    const stale = await browser.post(replica.origin, '/device', { ticket: 'made up', user_code: typed });
    expect(stale.status).toBe(403);
    expect(stale.text).toContain(`value="${typed}"`);
    const page = await browser.post(replica.origin, '/device', { ticket: ticketOf(stale), user_code: typed });
    expect(headingOf(page)).toBe('Does your terminal show this code?');
  });

  it('looks nothing up for what another site embeds or a browser fetches ahead', async () => {
    const { json } = await authorize(replica, device);
    const link = `/device?user_code=${json['user_code']}`;
    const ways: Record<string, string>[] = [{ 'sec-fetch-dest': 'image' }, { 'sec-purpose': 'prefetch' }];
    for (const headers of ways) {
      const page = await browser.get(replica.origin, link, headers);
      expect(headingOf(page)).toBe('Enter the code from your terminal');
      expect(page.text).toContain(`value="${json['user_code']}"`);
    }
    expect(results('device.verify')).toEqual([]);
  });
});

describe('what the page says of the device that asked', () => {
  const CANNOT_TELL = 'The gateway cannot tell whether this request came from your computer.';
  const SAME = 'the same network address as your browser';
  const ELSEWHERE = 'This request came from a different network address than your browser.';

  async function pageFrom(
    at: Replica,
    deviceAddress: string,
    browserAddress: string,
    headers: Record<string, string> = {},
  ): Promise<string> {
    const { json } = await authorize(at, deviceAddress);
    const page = await new Browser(browserAddress).get(
      at.origin,
      `/device?user_code=${json['user_code']}`,
      headers,
    );
    expect(page.status).toBe(200);
    return page.text;
  }

  it('compares addresses that a trusted proxy has named', async () => {
    expect(await pageFrom(replica, device, device)).toContain(`${device} (${SAME}`);
    const elsewhere = await pageFrom(replica, '203.0.113.9', device);
    expect(elsewhere).toContain('203.0.113.9');
    expect(elsewhere).toContain(ELSEWHERE);
    expect(elsewhere).not.toContain(CANNOT_TELL);
  });

  it.each([
    ['behind a proxy that is not trusted', ['10.250.0.1']],
    ['behind a proxy where none is configured', []],
  ])('does not take it for this browser %s', async (_, trustedProxies) => {
    const blind = await start({ trustedProxies });
    const text = await pageFrom(blind, '203.0.113.9', device);
    expect(text).toContain(CANNOT_TELL);
    expect(text).not.toContain(SAME);
    // The proxy's own address would only look like something that is known.
    expect(text).not.toContain('127.0.0.1');
    expect(text).not.toContain('203.0.113.9');
    expect(blind.logged.filter((line) => line.includes('listen.trusted_proxies'))).toHaveLength(1);
    expect(blind.logged.join('')).toContain('"peer":"127.0.0.1"');
  });

  it('does not take the proxy for the client when all that it names are proxies', async () => {
    const nested = await start({ trustedProxies: ['127.0.0.1', '10.0.0.0/8'] });
    expect(await pageFrom(nested, '10.9.9.9', '10.9.9.9')).toContain(CANNOT_TELL);
  });

  it('shows the name of a program only when it is a known one', async () => {
    const named = async (body: string): Promise<string> => {
      const { json } = await authorize(replica, device, body);
      return (await browser.get(replica.origin, `/device?user_code=${json['user_code']}`)).text;
    };
    expect(await named('surface=claude_code')).toContain('Claude Code');
    const claimed = await named('surface=Your-IT-department');
    expect(claimed).not.toContain('Your-IT-department');
    expect(claimed).not.toContain('Asked by');
  });
});

describe('a code that leads nowhere', () => {
  it('is reported when nobody ever got it', async () => {
    const page = await browser.get(replica.origin, '/device?user_code=BCDF-GHJK');
    expect(page.status).toBe(404);
    expect(page.text).toContain('role="alert"');
    expect(page.text).toContain(String(page.headers['request-id']));
    expect(results('device.verify')).toEqual(['unknown_code']);
  });

  it('is reported when it has expired', async () => {
    const { json } = await authorize(replica, device);
    const later = await start({ clock: () => new Date(Date.now() + 601_000) });
    const page = await browser.get(later.origin, `/device?user_code=${json['user_code']}`);
    expect(page.status).toBe(404);
  });

  it('is reported when it has been used', async () => {
    const { page, userCode } = await confirmationPage();
    const redirect = await browser.post(replica.origin, '/device', { ticket: ticketOf(page) });
    await browser.get(replica.origin, callbackOf(String(redirect.headers['location'])));
    const again = await browser.get(replica.origin, `/device?user_code=${userCode}`);
    expect([again.status, headingOf(again)]).toEqual([410, 'This code is no longer valid']);
  });

  it('cannot be guessed: each address has few attempts, however it asks', async () => {
    const settings = {
      rateLimits: {
        device_authorization: { max: 30, window_seconds: 600 },
        device_verify: { max: 3, window_seconds: 600 },
        device_confirm: { max: 1000, window_seconds: 600 },
      },
    };
    const moment = new Date();
    const strict = await start({ settings, clock: () => moment });
    const form = await browser.get(strict.origin, '/device');
    const ticket = ticketOf(form);
    expect((await browser.get(strict.origin, '/device?user_code=BCDF-GHJK')).status).toBe(404);
    expect((await browser.post(strict.origin, '/device', { ticket, user_code: 'BCDF-GHJL' })).status).toBe(
      404,
    );
    expect((await browser.post(strict.origin, '/device', { ticket, user_code: 'too short' })).status).toBe(
      400,
    );
    expect((await browser.get(strict.origin, '/device?user_code=BCDF-GHJM')).status).toBe(404);
    const { json } = await authorize(strict, device);
    const refused = await browser.get(strict.origin, `/device?user_code=${json['user_code']}`);
    expect([refused.status, headingOf(refused)]).toEqual([429, 'Too many attempts']);
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0);
    expect((await browser.post(strict.origin, '/device', { ticket, user_code: 'BCDF-GHJK' })).status).toBe(
      429,
    );
    const elsewhere = new Browser(`10.2.${subnet}.3`);
    expect((await elsewhere.get(strict.origin, `/device?user_code=${json['user_code']}`)).status).toBe(200);
    expect(results('device.verify', strict)).toContain('rate_limited');
  });

  it('stops nobody who has a right one: an office signs in behind one address', async () => {
    const settings = {
      rateLimits: {
        device_authorization: { max: 600, window_seconds: 600 },
        device_verify: { max: 3, window_seconds: 600 },
        device_confirm: { max: 1000, window_seconds: 600 },
      },
    };
    const moment = new Date();
    const office = await start({ settings, clock: () => moment });
    for (let at = 0; at < 200; at += 20) {
      const pages = await Promise.all(
        Array.from({ length: 20 }, async () => {
          const { json } = await authorize(office, device);
          return new Browser(device).get(office.origin, `/device?user_code=${json['user_code']}`);
        }),
      );
      expect(pages.map(({ status }) => status)).toEqual(Array<number>(20).fill(200));
    }
    // Somebody mistypes: they have their attempts all the same.
    expect((await browser.get(office.origin, '/device?user_code=BCDF-GHJK')).status).toBe(404);
  });

  it('has a limit of its own when it is right', async () => {
    const settings = {
      rateLimits: {
        device_authorization: { max: 30, window_seconds: 600 },
        device_verify: { max: 3, window_seconds: 600 },
        device_confirm: { max: 2, window_seconds: 600 },
      },
    };
    const moment = new Date();
    const strict = await start({ settings, clock: () => moment });
    const { json } = await authorize(strict, device);
    const statuses: number[] = [];
    for (let i = 0; i < 3; i++)
      statuses.push((await browser.get(strict.origin, `/device?user_code=${json['user_code']}`)).status);
    expect(statuses).toEqual([200, 200, 429]);
  });

  it('reaches the store only as often as one replica lets an address ask', async () => {
    const moment = new Date();
    const strict = await start({
      limits: { sign_in_pages: { max: 3, window_seconds: 60 } },
      clock: () => moment,
    });
    const asked: Answer[] = [];
    for (let i = 0; i < 4; i++) asked.push(await browser.get(strict.origin, `/oauth/callback?state=${i}`));
    expect(asked.map(({ status }) => status)).toEqual([400, 400, 400, 429]);
    expect(headingOf(asked[3] as Answer)).toBe('Too many requests');
    expect(asked[3]?.headers['retry-after']).toBe('20');
    expect((await browser.get(strict.origin, '/device?user_code=BCDF-GHJK')).status).toBe(429);
    expect((await new Browser(`10.2.${subnet}.9`).get(strict.origin, '/oauth/callback?state=x')).status).toBe(
      400,
    );
    expect(results('device.verify', strict)).toEqual([
      ...Array<string>(3).fill('unknown_state'),
      ...Array<string>(2).fill('rate_limited'),
      'unknown_state',
    ]);
  });

  it('cannot be taken to the identity provider without end', async () => {
    const { page } = await confirmationPage();
    const statuses: number[] = [];
    for (let i = 0; i < 21; i++) {
      statuses.push((await browser.post(replica.origin, '/device', { ticket: ticketOf(page) })).status);
    }
    expect(statuses.slice(0, 20)).toEqual(Array<number>(20).fill(303));
    expect(statuses[20]).toBe(429);
  });
});

describe('GET /oauth/callback', () => {
  async function callback(): Promise<{ path: string; deviceCode: string; userCode: string }> {
    const { page, deviceCode, userCode } = await confirmationPage();
    const redirect = await browser.post(replica.origin, '/device', { ticket: ticketOf(page) });
    return { path: callbackOf(String(redirect.headers['location'])), deviceCode, userCode };
  }

  it('works once', async () => {
    const { path } = await callback();
    expect((await browser.get(replica.origin, path)).status).toBe(200);
    const again = await browser.get(replica.origin, path);
    expect([again.status, headingOf(again)]).toEqual([400, 'This sign-in link no longer works']);
    expect(idp.exchanges).toHaveLength(1);
  });

  it('ends on a page that a reload leaves as it is, in this browser alone', async () => {
    const { path } = await callback();
    const bare = await request(replica.origin + path, { headers: { cookie: browser.cookies() } });
    expect(bare.statusCode).toBe(303);
    const location = String(bare.headers['location']);
    expect(location).toMatch(/^\/device\/signed-in\?as=/);
    expect(location).not.toContain('ada');
    for (let load = 0; load < 2; load++) {
      const page = await browser.get(replica.origin, location);
      expect([page.status, headingOf(page)]).toEqual([200, 'You are signed in']);
      expect(page.text).toContain('ada@corp.example');
    }
    const others = [
      await new Browser(`10.2.${subnet}.5`).get(replica.origin, location),
      await browser.get(replica.origin, '/device/signed-in'),
      await browser.get(replica.origin, '/device/signed-in?as=AAAA'),
      await browser.get(replica.origin, `${location.slice(0, -4)}AAAA`),
    ];
    expect(others.map(({ status }) => status)).toEqual([400, 400, 400, 400]);
    expect(others.map(({ text }) => text).join('')).not.toContain('ada');
  });

  it('refuses somebody in more groups than a token can name, and says what to do', async () => {
    const groups = Array.from({ length: 5000 }, (_, i) => `engineering-team-${i}`);
    idp.outcome = {
      identity: { sub: 'u-ada', provider: 'idp', email: 'ada@corp.example', name: 'Ada', groups },
      refreshToken: null,
    };
    const { path, deviceCode } = await callback();
    const page = await browser.get(replica.origin, path);
    expect([page.status, headingOf(page)]).toEqual([403, 'You were not signed in']);
    expect(page.text).toContain('session.groups: named');
    expect(results('auth.denied')).toEqual(['too_many_groups']);
    expect(await poll(deviceCode)).toEqual({ state: 'authorization_pending' });
  });

  it('is not used up by a look at its headers', async () => {
    const { path } = await callback();
    const look = await request(replica.origin + path, { method: 'HEAD' });
    expect(look.statusCode).toBe(200);
    expect(headingOf(await browser.get(replica.origin, path))).toBe('You are signed in');
  });

  it('works only in the browser that set out', async () => {
    const { path, deviceCode } = await callback();
    const victim = new Browser(`10.2.${subnet}.4`);
    await victim.get(replica.origin, '/device');
    const answer = await victim.get(replica.origin, path);
    expect([answer.status, headingOf(answer)]).toEqual([403, 'This sign-in was started in another browser']);
    expect(idp.exchanges).toHaveLength(0);
    expect(await poll(deviceCode)).toEqual({ state: 'authorization_pending' });
    expect(results('auth.denied')).toEqual(['other_browser']);
    // Not even afterwards: the state is used up.
    expect((await browser.get(replica.origin, path)).status).toBe(400);
  });

  it.each([
    '',
    '?code=x',
    '?state=',
    '?state=made-up&code=x',
    '?state=a&state=b',
    '?error=access_denied',
    '?%00=%ff',
  ])('answers %j with a page', async (query) => {
    const answer = await browser.get(replica.origin, `/oauth/callback${query}`);
    expect([answer.status, headingOf(answer)]).toEqual([400, 'This sign-in link no longer works']);
    expect(results('device.verify')).toEqual(['unknown_state']);
  });

  it('hands the provider our own address with the whole query, whatever Host says', async () => {
    const { path } = await callback();
    await browser.get(replica.origin, `${path}&iss=https%3A%2F%2Fidp.example`, { host: 'evil.example' });
    const [seen] = idp.exchanges;
    expect(seen?.origin + (seen?.pathname ?? '')).toBe(`${replica.origin}/oauth/callback`);
    expect(seen?.searchParams.get('iss')).toBe('https://idp.example');
  });

  it('says why somebody was refused, and lets them try again with the same code', async () => {
    const { path, deviceCode, userCode } = await callback();
    idp.outcome = new SignInRefused('email_domain_not_allowed', 'Not with <this> account.', 'gmail.com');
    const refused = await browser.get(replica.origin, path);
    expect(refused.status).toBe(403);
    expect(refused.text).toContain('Not with &lt;this&gt; account.');
    expect(refused.text).not.toContain('gmail.com');
    expect(refused.text).toContain(`href="/device?user_code=${userCode}"`);
    expect(refused.text).toContain(String(refused.headers['request-id']));
    expect(results('auth.denied')).toEqual(['email_domain_not_allowed']);
    expect(replica.logged.join('')).toContain('gmail.com');
    expect(await poll(deviceCode)).toEqual({ state: 'authorization_pending' });
  });

  it('says when the identity provider is away, before and after the person went there', async () => {
    const { path } = await callback();
    idp.outcome = new IdentityProviderUnavailable('https://idp.example', 'connect ECONNREFUSED');
    const after = await browser.get(replica.origin, path);
    expect([after.status, headingOf(after)]).toEqual([503, 'Your identity provider is not responding']);

    const { page } = await confirmationPage();
    idp.unreachable = new IdentityProviderUnavailable('https://idp.example', 'connect ECONNREFUSED');
    const before = await browser.post(replica.origin, '/device', { ticket: ticketOf(page) });
    expect(before.status).toBe(503);
    expect(before.text).not.toContain('ECONNREFUSED');
  });

  it('keeps what nobody foresaw to the log', async () => {
    const { path } = await callback();
    idp.outcome = new Error('a private detail');
    const answer = await browser.get(replica.origin, path);
    expect([answer.status, headingOf(answer)]).toEqual([500, 'Something went wrong']);
    expect(answer.text).not.toContain('private detail');
    expect(replica.logged.join('')).toContain('a private detail');
  });

  it('does not approve a code that was denied or had expired meanwhile', async () => {
    const { path, deviceCode, userCode } = await callback();
    const page = await browser.get(replica.origin, `/device?user_code=${userCode}`);
    await browser.post(replica.origin, '/device/deny', { ticket: ticketOf(page) });
    const answer = await browser.get(replica.origin, path);
    expect([answer.status, headingOf(answer)]).toEqual([410, 'This code is no longer valid']);
    expect(await poll(deviceCode)).toEqual({ state: 'access_denied' });

    const { path: late } = await callback();
    const later = await start({ clock: () => new Date(Date.now() + 601_000) });
    expect((await browser.get(later.origin, late)).status).toBe(400);
  });
});

describe('what is written down', () => {
  it('never holds a code, a state or a cookie', async () => {
    const { page, userCode, deviceCode } = await confirmationPage();
    const redirect = await browser.post(replica.origin, '/device', { ticket: ticketOf(page) });
    const location = new URL(String(redirect.headers['location']));
    await browser.get(replica.origin, callbackOf(location.href));
    await browser.get(replica.origin, callbackOf(location.href));
    const written = JSON.stringify(replica.audited) + replica.logged.join('');
    const secrets = [userCode, deviceCode, location.searchParams.get('state') ?? '', ticketOf(page)];
    for (const secret of secrets) expect(written).not.toContain(secret);
  });
});

describe('a form that cannot be read', () => {
  it.each<[string, Record<string, string>, string]>([
    ['too large', {}, `user_code=${'x'.repeat(20_000)}`],
    ['in an encoding that nobody knows', { 'content-encoding': 'x-unknown' }, 'a=b'],
    ['with too many fields', {}, 'a&'.repeat(2000)],
  ])('is the browser\u2019s fault when it is %s', async (_what, headers, body) => {
    const answer = await request(`${replica.origin}/device`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers },
      body,
    });
    const text = await answer.body.text();
    expect(answer.statusCode).toBeGreaterThanOrEqual(400);
    expect(answer.statusCode).toBeLessThan(500);
    expect(text).toContain('The gateway could not read this request');
  });
});

describe('without the store', () => {
  it('asks devices and people to come back', async () => {
    const { page } = await confirmationPage();
    await database.postgres.pause();
    const answer = await authorize(replica, device);
    expect([answer.status, answer.json['error']]).toEqual([503, 'temporarily_unavailable']);
    expect(answer.headers['retry-after']).toBe('5');

    for (const asked of [
      browser.get(replica.origin, '/device?user_code=BCDF-GHJK'),
      browser.post(replica.origin, '/device', { ticket: ticketOf(page) }),
      browser.post(replica.origin, '/device/deny', { ticket: ticketOf(page) }),
      browser.get(replica.origin, '/oauth/callback?state=x&code=y'),
    ]) {
      const { status, headers, text } = await asked;
      expect(status).toBe(503);
      expect(headers['retry-after']).toBe('5');
      expect(headers['content-security-policy']).toContain("default-src 'none'");
      expect(text).toContain('Sign-in is not available right now');
    }
    expect((await browser.get(replica.origin, '/device')).status).toBe(200);
    await database.postgres.restart();
  });
});
