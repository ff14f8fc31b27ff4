import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Provider, type ClientMetadata } from 'oidc-provider';
import { messagePage, overviewPage, signInPage, type ListedUser } from './identity-provider-page.ts';
import { ProviderStorage } from './identity-provider-storage.ts';
import { DEVELOPMENT_USERS, type DevelopmentUser } from './identity-provider-users.ts';

export interface IdentityProviderOptions {
  /** 0 or absent: any free port. */
  readonly port?: number;
  /** Address to listen at, which is also in the issuer. Default 127.0.0.1. */
  readonly host?: string;
  /** Who may ask people to sign in. `grant_types` defaults to authorization code with refresh tokens. */
  readonly clients: readonly ClientMetadata[];
  /** Default: {@link DEVELOPMENT_USERS}. */
  readonly users?: readonly DevelopmentUser[];
  /** Where keys, grants and refresh tokens survive a restart. Default: in memory only. */
  readonly dataDir?: string;
  /** Put email, name and groups in the id_token (default), or, as some do, only in the answer of userinfo. */
  readonly claimsInIdToken?: boolean;
  /** Told, in words, who signed in, was refused, and whose session was refreshed. */
  readonly onEvent?: (message: string) => void;
}

/** A real OpenID Provider (certified code) with people made up. */
export interface RunningIdentityProvider {
  readonly issuer: string;
  readonly port: number;
  /** From now on this person cannot sign in, and refreshing answers `invalid_grant`. */
  disableUser(sub: string): void;
  enableUser(sub: string): void;
  /** Changes what is said about a person, from the next token on. @throws Error when there is no such person. */
  updateUser(sub: string, changes: Partial<Omit<DevelopmentUser, 'sub'>>): void;
  /** Keeps what has to survive, closes every connection. Idempotent. */
  stop(): Promise<void>;
}

const HOUR_SECONDS = 3600;
const DAY_SECONDS = 24 * HOUR_SECONDS;
const SCOPES = ['openid', 'profile', 'email', 'groups', 'offline_access'];
const SESSION_COOKIE = 'development_idp_session';
const MAX_FORM_BYTES = 10_000;

/**
 * Starts the development identity provider. Every authorization request shows the page on which one picks a person
 * (also the second one of the same browser: switching people is what one does here), consent is taken for granted,
 * PKCE is required, and refresh tokens rotate.
 *
 * @throws Error with code EADDRINUSE when the port is taken.
 */
export async function startIdentityProvider(
  options: IdentityProviderOptions,
): Promise<RunningIdentityProvider> {
  const people = new Map<string, ListedUser>(
    (options.users ?? DEVELOPMENT_USERS).map((user) => [user.sub, { ...user, disabled: false }]),
  );
  const change = (sub: string, changes: Partial<ListedUser>): void => {
    const person = people.get(sub);
    if (person === undefined)
      throw new Error(`no such user: ${sub} (there are ${[...people.keys()].join(', ')})`);
    people.set(sub, { ...person, ...changes, sub });
  };

  const storage = new ProviderStorage(options.dataDir);
  const keys = await storage.keys();
  const server = createServer();
  const { host = '127.0.0.1' } = options;
  await listen(server, options.port ?? 0, host);
  const { port } = server.address() as AddressInfo;
  const issuer = `http://${host}:${port}`;

  const provider = new Provider(issuer, {
    adapter: (model: string) => storage.adapter(model),
    clients: options.clients.map((client) => ({
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
      ...client,
    })),
    jwks: keys.jwks,
    cookies: {
      keys: keys.cookieKeys,
      names: {
        session: SESSION_COOKIE,
        interaction: 'development_idp_interaction',
        resume: 'development_idp_resume',
      },
    },
    scopes: SCOPES,
    claims: {
      openid: ['sub'],
      email: ['email', 'email_verified'],
      profile: ['name', 'groups'],
      groups: ['groups'],
    },
    conformIdTokenClaims: options.claimsInIdToken === false,
    features: { devInteractions: { enabled: false }, rpInitiatedLogout: { enabled: false } },
    pkce: { required: () => true },
    rotateRefreshToken: true,
    issueRefreshToken: async (_context, client) => client.grantTypeAllowed('refresh_token'),
    expiresWithSession: async () => false,
    ttl: {
      AccessToken: HOUR_SECONDS,
      AuthorizationCode: 60,
      Grant: 30 * DAY_SECONDS,
      IdToken: HOUR_SECONDS,
      Interaction: HOUR_SECONDS,
      RefreshToken: 30 * DAY_SECONDS,
      Session: DAY_SECONDS,
    },
    interactions: { url: (_context, interaction) => `/sign-in/${interaction.uid}` },
    findAccount: async (_context, sub) => {
      const person = people.get(sub);
      if (person === undefined || person.disabled) return undefined;
      return {
        accountId: sub,
        claims: async () => ({
          sub,
          name: person.name,
          email: person.email,
          email_verified: person.emailVerified,
          groups: [...person.groups],
        }),
      };
    },
    loadExistingGrant: async (context) => {
      const { client, session } = context.oidc;
      if (client === undefined || session?.accountId === undefined) return undefined;
      const grant = new context.oidc.provider.Grant({
        clientId: client.clientId,
        accountId: session.accountId,
      });
      grant.addOIDCScope(SCOPES.join(' '));
      await grant.save();
      return grant;
    },
    renderError: async (context, out) => {
      context.type = 'html';
      context.body = messagePage('Sign-in did not work', `${out.error}: ${out.error_description ?? ''}`);
    },
  });

  const say = options.onEvent ?? (() => undefined);
  provider.on('grant.success', (context) => {
    const { Account: account, RefreshToken: refreshed } = context.oidc.entities;
    say(
      `${account?.accountId} ${refreshed === undefined || context.oidc.params?.['grant_type'] === 'authorization_code' ? 'signed in' : 'was confirmed at a refresh'}`,
    );
  });
  provider.on('grant.error', (_context, error) => say(`refused: ${error.error_detail ?? error.message}`));

  const speakOidc = provider.callback();
  server.on('request', (request, response) => {
    route(request, response).catch((error: unknown) => {
      if (!response.headersSent) send(response, 400, messagePage('Sign-in did not work', String(error)));
      else response.destroy();
    });
  });

  async function route(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname } = new URL(request.url ?? '/', issuer);
    const [, area, id = ''] = pathname.split('/');
    if (pathname === '/' && request.method === 'GET') {
      return send(response, 200, overviewPage({ issuer, users: [...people.values()] }));
    }
    if (area === 'users' && request.method === 'POST') {
      if (request.headers.origin !== issuer)
        return send(response, 403, messagePage('No', 'Use the page itself.'));
      change(decodeURIComponent(id), { disabled: (await readForm(request)).get('action') === 'disable' });
      response.writeHead(303, { location: '/' }).end();
      return;
    }
    if (area === 'sign-in') return signIn(request, response, pathname);
    if (area === 'auth') forgetSession(request);
    await speakOidc(request, response);
  }

  async function signIn(request: IncomingMessage, response: ServerResponse, action: string): Promise<void> {
    const interaction = await provider.interactionDetails(request, response);
    const client = await provider.Client.find(String(interaction.params['client_id']));
    const page = signInPage({
      action,
      client: client?.clientName ?? client?.clientId ?? 'An unknown client',
      users: [...people.values()],
    });
    if (request.method !== 'POST') return send(response, 200, page);

    const form = await readForm(request);
    if (form.get('action') === 'cancel') {
      const denial = { error: 'access_denied', error_description: 'the person pressed Cancel' };
      return provider.interactionFinished(request, response, denial, { mergeWithLastSubmission: false });
    }
    const person = people.get(form.get('user') ?? '');
    if (person === undefined || person.disabled) return send(response, 400, page);
    const login = { login: { accountId: person.sub, remember: false } };
    return provider.interactionFinished(request, response, login, { mergeWithLastSubmission: false });
  }

  return {
    issuer,
    port,
    disableUser: (sub) => change(sub, { disabled: true }),
    enableUser: (sub) => change(sub, { disabled: false }),
    updateUser: (sub, changes) => change(sub, changes),
    stop: async () => {
      storage.flush();
      if (!server.listening) return;
      const closed = new Promise<void>((done) => server.close(() => done()));
      server.closeAllConnections();
      await closed;
    },
  };
}

/** Takes our session out of the request's cookies, so that the page is shown to browsers that were here before. */
function forgetSession(request: IncomingMessage): void {
  const others = (request.headers.cookie ?? '')
    .split(/; */)
    .filter((cookie) => !cookie.startsWith(SESSION_COOKIE));
  request.headers.cookie = others.join('; ');
}

async function readForm(request: IncomingMessage): Promise<URLSearchParams> {
  let body = '';
  for await (const chunk of request) {
    body += String(chunk);
    if (body.length > MAX_FORM_BYTES) throw new Error('the form is too large');
  }
  return new URLSearchParams(body);
}

function send(response: ServerResponse, status: number, html: string): void {
  response
    .writeHead(status, { 'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-store' })
    .end(html);
}

function listen(server: Server, port: number, host: string): Promise<void> {
  return new Promise((ready, fail) => server.once('error', fail).listen(port, host, ready));
}
