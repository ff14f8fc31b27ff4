import { createHash } from 'node:crypto';
import type { Store } from '@claude-gateway/prisma';
import { request, type Dispatcher } from 'undici';
import { createApp } from '../../../http/app.ts';
import { AddressSet } from '../../../http/client-address.ts';
import { USUAL_TRAFFIC } from '../../../http/testing/usual-traffic.ts';
import { Listener } from '../../../http/listener.ts';
import { createAudit } from '../../../observe/audit.ts';
import { createLog } from '../../../observe/log.ts';
import type { SignInSecrets } from '../../oidc/provider.ts';
import { createSignInLimits, type SignInLimitSettings } from '../../limits/sign-in-limits.ts';
import { createSealer } from '../../session/sealer.ts';
import { createTokens } from '../../session/tokens.ts';
import type { DeviceSettings, SignInProvider } from '../dependencies.ts';
import { createDeviceRouter } from '../router.ts';

/** Who plays the identity provider's part when a test wants to decide what it says. */
export class ScriptedProvider implements SignInProvider {
  readonly id: string;
  readonly label: string;
  readonly formActionOrigins: readonly string[];
  /** What the next exchange comes to; an error is thrown. */
  outcome: Awaited<ReturnType<SignInProvider['exchange']>> | Error;
  /** What asking where to go comes to. */
  unreachable: Error | undefined;
  readonly exchanges: URL[] = [];

  constructor(id: string, label = id) {
    this.id = id;
    this.label = label;
    this.formActionOrigins = [`https://${id}.example`];
    this.outcome = {
      identity: { sub: 'u-ada', provider: id, email: 'ada@corp.example', name: 'Ada', groups: ['dev'] },
      refreshToken: 'refresh token of the provider',
    };
  }

  authorizationUrl({ state, nonce, codeVerifier }: SignInSecrets): Promise<URL> {
    if (this.unreachable !== undefined) return Promise.reject(this.unreachable);
    const url = new URL(`https://${this.id}.example/authorize`);
    url.searchParams.set('state', state);
    url.searchParams.set('code', proof(nonce, codeVerifier));
    return Promise.resolve(url);
  }

  /** @throws Error unless nonce and verifier are those that the sign-in began with. */
  exchange(currentUrl: URL, secrets: SignInSecrets) {
    this.exchanges.push(currentUrl);
    const { searchParams } = currentUrl;
    const { state, nonce, codeVerifier } = secrets;
    if (searchParams.get('state') !== state || searchParams.get('code') !== proof(nonce, codeVerifier)) {
      return Promise.reject(new Error('the secrets are not those that the sign-in began with'));
    }
    return this.outcome instanceof Error ? Promise.reject(this.outcome) : Promise.resolve(this.outcome);
  }
}

/** The callback's path and query after the person has signed in at a {@link ScriptedProvider}. */
export function callbackOf(location: string): string {
  return `/oauth/callback${new URL(location).search}`;
}

function proof(nonce: string, codeVerifier: string): string {
  return createHash('sha256').update(`${nonce} ${codeVerifier}`).digest('hex');
}

export interface Replica {
  readonly origin: string;
  readonly audited: Record<string, unknown>[];
  /** Everything that was logged, as text. */
  readonly logged: string[];
  stop(): Promise<void>;
}

export interface ReplicaOptions {
  readonly store: Pick<Store, 'deviceGrants' | 'rateLimits'>;
  readonly providers: readonly SignInProvider[];
  readonly settings?: Partial<DeviceSettings>;
  readonly limits?: Partial<SignInLimitSettings>;
  readonly trustedProxies?: readonly string[];
  readonly clock?: () => Date;
}

const TOKENS = createTokens({
  secrets: ['0123456789abcdef0123456789abcdef'],
  ttlSeconds: 3600,
  issuer: 'https://gateway.corp.example',
  clock: () => new Date(),
});

export const SEALER = createSealer(['0123456789abcdef0123456789abcdef']);

/** A listener of its own with nothing but the router under test. */
export async function startReplica(options: ReplicaOptions): Promise<Replica> {
  const audited: Record<string, unknown>[] = [];
  const logged: string[] = [];
  const audit = createAudit({ write: (line) => audited.push(JSON.parse(line) as Record<string, unknown>) });
  const log = createLog('info', { write: (line) => logged.push(line) });
  const rules = {
    trustedProxies: new AddressSet(options.trustedProxies ?? ['127.0.0.1']),
    allow: new AddressSet([]),
    deny: new AddressSet([]),
    maxUrlLength: undefined,
    traffic: USUAL_TRAFFIC,
  };
  const listener = new Listener(
    { host: '127.0.0.1', port: 0, maxHeaderBytes: undefined, log, audit },
    rules,
    () => undefined,
  );
  const origin = `http://127.0.0.1:${await listener.listen()}`;
  const settings: DeviceSettings = {
    publicUrl: origin,
    rateLimits: {
      device_authorization: { max: 30, window_seconds: 600 },
      device_verify: { max: 10, window_seconds: 600 },
      device_confirm: { max: 1000, window_seconds: 600 },
    },
    ...options.settings,
  };
  const router = createDeviceRouter({
    grants: options.store.deviceGrants,
    rateLimits: options.store.rateLimits,
    limits: createSignInLimits(
      {
        device_authorization: settings.rateLimits.device_authorization,
        token: { max: 1200, window_seconds: 10 },
        sign_in_pages: { max: 600, window_seconds: 10 },
        ...options.limits,
      },
      options.clock ?? (() => new Date()),
    ),
    assertMintable: async (holder) => void (await TOKENS.mint(holder)),
    sealer: SEALER,
    settings: () => settings,
    providers: () => options.providers,
    audit,
    clock: options.clock ?? (() => new Date()),
  });
  listener.update(rules, createApp([router]));
  return { origin, audited, logged, stop: async () => void (await listener.drain(0, 0)) };
}

export interface Answer {
  readonly status: number;
  readonly headers: Record<string, string | string[] | undefined>;
  readonly text: string;
}

/** A browser of one person: a cookie jar, and the headers with which browsers say where a request comes from. */
export class Browser {
  readonly #cookies = new Map<string, string>();
  readonly #address: string;

  /** @param address What the proxy in front of the gateway says about where this browser is. */
  constructor(address: string) {
    this.#address = address;
  }

  /** A link followed or an address typed: a navigation of the whole window, and where it leads on this origin. */
  async get(origin: string, path: string, headers: Record<string, string> = {}): Promise<Answer> {
    const options = { method: 'GET', headers: { 'sec-fetch-dest': 'document', ...headers } } as const;
    const answer = await this.#ask(origin, path, options);
    const { location } = answer.headers;
    return typeof location === 'string' && location.startsWith('/') ? this.get(origin, location) : answer;
  }

  /** The header that it sends. */
  cookies(): string {
    return [...this.#cookies].map((pair) => pair.join('=')).join('; ');
  }

  /** Submits a form, from a page of the same origin unless the headers say otherwise. */
  post(
    origin: string,
    path: string,
    form: Record<string, string>,
    headers: Record<string, string> = { 'sec-fetch-site': 'same-origin', origin: 'null' },
  ): Promise<Answer> {
    return this.#ask(origin, path, {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers },
      body: new URLSearchParams(form).toString(),
    });
  }

  /** Follows redirects over as many origins as it takes, for as long as `on` says so. */
  async follow(
    from: string,
    answer: Answer,
    on: (next: URL) => boolean,
  ): Promise<{ url: URL; answer: Answer }> {
    let url = new URL(from);
    while (answer.status >= 300 && answer.status < 400) {
      url = new URL(String(answer.headers['location']), url);
      if (!on(url)) break;
      answer = await this.get(url.origin, url.pathname + url.search);
    }
    return { url, answer };
  }

  async #ask(
    origin: string,
    path: string,
    options: { method: Dispatcher.HttpMethod; headers: Record<string, string>; body?: string },
  ): Promise<Answer> {
    const { statusCode, headers, body } = await request(origin + path, {
      ...options,
      // No connection outlives its test.
      reset: true,
      headers: {
        ...options.headers,
        'x-forwarded-for': this.#address,
        ...(this.#cookies.size > 0 && {
          cookie: this.cookies(),
        }),
      },
    });
    for (const line of [headers['set-cookie'] ?? []].flat()) {
      const [name = '', value = ''] = (line.split(';')[0] ?? '').split('=');
      this.#cookies.set(name, value);
    }
    return { status: statusCode, headers, text: await body.text() };
  }
}

/** The hidden field of the page's form. */
export function ticketOf({ text }: Answer): string {
  const ticket = /name="ticket" value="([^"]+)"/.exec(text)?.[1];
  if (ticket === undefined) throw new Error(`no ticket on this page: ${text}`);
  return ticket;
}

export function headingOf({ text }: Answer): string | undefined {
  return /<h1>(.*?)<\/h1>/.exec(text)?.[1];
}

/** What a device is answered. */
export async function authorize(
  replica: Replica,
  address: string,
  body = 'surface=claude_code',
): Promise<{ status: number; headers: Answer['headers']; json: Record<string, string> }> {
  const {
    statusCode,
    headers,
    body: answer,
  } = await request(`${replica.origin}/oauth/device_authorization`, {
    method: 'POST',
    reset: true,
    headers: { 'content-type': 'application/x-www-form-urlencoded', 'x-forwarded-for': address },
    body,
  });
  return { status: statusCode, headers, json: (await answer.json()) as Record<string, string> };
}
