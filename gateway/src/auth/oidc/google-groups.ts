import { importPKCS8, SignJWT, type CryptoKey } from 'jose';
import type { FetchFunction } from '../../net/http-client.ts';
import { readRegularFileLater } from '../../regular-file.ts';
import { SignInRefused } from './errors.ts';

/** Which groups a Google Workspace user is in, by the groups' addresses. */
export interface GoogleGroups {
  /**
   * @throws SignInRefused when the Directory API does not know this person or does not let us ask.
   * @throws IdentityProviderUnavailable when it does not answer.
   */
  groupsOf(email: string): Promise<readonly string[]>;
}

export interface GoogleGroupsDependencies {
  /** Throws IdentityProviderUnavailable when there is no answer. */
  readonly fetch: FetchFunction;
  readonly clock: () => Date;
  /** For tests. */
  readonly directoryUrl?: string;
}

const SCOPE = 'https://www.googleapis.com/auth/admin.directory.group.readonly';
const DIRECTORY_URL = 'https://admin.googleapis.com';
/** How long an answer serves: retries of a client and the first requests of a session, not more. */
const CACHE_MS = 60_000;
const CACHE_ENTRIES = 10_000;
/** Stops a server that always has one more page; 200 groups each. */
const MAX_PAGES = 50;

/**
 * Prepares Directory API lookups with a service account that has domain-wide delegation:
 * https://developers.google.com/workspace/admin/directory/reference/rest/v1/groups/list
 *
 * @throws Error naming the field when the key file cannot be used.
 */
export async function createGoogleGroups(
  settings: { readonly service_account_json_path: string; readonly admin_email: string },
  deps: GoogleGroupsDependencies,
): Promise<GoogleGroups> {
  const account = await readServiceAccount(settings.service_account_json_path);
  const directory = deps.directoryUrl ?? DIRECTORY_URL;
  const cache = new Map<string, { readonly groups: readonly string[]; readonly until: number }>();
  let token = { value: '', until: 0 };

  async function accessToken(): Promise<string> {
    const now = deps.clock().getTime();
    if (now < token.until) return token.value;
    const assertion = await signAssertion(account, settings.admin_email, Math.floor(now / 1000));
    const answer = await call(deps.fetch, account.tokenUri, {
      method: 'POST',
      body: new URLSearchParams({ grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer', assertion }),
    });
    const { access_token: value, expires_in: lifetime } = answer as {
      access_token?: unknown;
      expires_in?: unknown;
    };
    if (typeof value !== 'string') throw refused(`${account.tokenUri} gave no access token`);
    token = { value, until: now + ((Number(lifetime) || 3600) - 60) * 1000 };
    return value;
  }

  async function fetchGroups(email: string): Promise<string[]> {
    const authorization = `Bearer ${await accessToken()}`;
    const groups: string[] = [];
    let pageToken: string | undefined;
    for (let page = 0; page < MAX_PAGES; page++) {
      const url = new URL('/admin/directory/v1/groups', directory);
      url.searchParams.set('userKey', email);
      url.searchParams.set('maxResults', '200');
      if (pageToken !== undefined) url.searchParams.set('pageToken', pageToken);
      const answer = (await call(deps.fetch, url.href, { headers: { authorization } })) as DirectoryPage;
      for (const group of answer.groups ?? []) {
        if (typeof group.email === 'string') groups.push(group.email);
      }
      if (typeof answer.nextPageToken !== 'string') break;
      pageToken = answer.nextPageToken;
    }
    return groups;
  }

  return {
    groupsOf: async (email) => {
      const now = deps.clock().getTime();
      const cached = cache.get(email);
      if (cached !== undefined && now < cached.until) return cached.groups;
      const groups = await fetchGroups(email);
      cache.delete(email);
      if (cache.size >= CACHE_ENTRIES) cache.delete(cache.keys().next().value!);
      cache.set(email, { groups, until: now + CACHE_MS });
      return groups;
    },
  };
}

interface DirectoryPage {
  readonly groups?: readonly { readonly email?: unknown }[];
  readonly nextPageToken?: unknown;
}

interface ServiceAccount {
  readonly email: string;
  readonly keyId: string | undefined;
  readonly key: CryptoKey;
  readonly tokenUri: string;
}

async function readServiceAccount(path: string): Promise<ServiceAccount> {
  const field = 'oidc.google_groups.service_account_json_path';
  const text = await readRegularFileLater(path).catch((error: NodeJS.ErrnoException) => {
    throw new Error(`${field}: cannot read ${path}: ${error.code ?? error.message}`);
  });
  try {
    const file = JSON.parse(text) as Record<string, unknown>;
    const { client_email: email, private_key: pem, private_key_id: keyId, token_uri: tokenUri } = file;
    if (typeof email !== 'string' || typeof pem !== 'string') throw new Error('incomplete');
    return {
      email,
      key: await importPKCS8(pem, 'RS256'),
      keyId: typeof keyId === 'string' ? keyId : undefined,
      tokenUri: typeof tokenUri === 'string' ? tokenUri : 'https://oauth2.googleapis.com/token',
    };
  } catch {
    // The cause is left out: parsers quote their input, which is a private key.
    throw new Error(`${field}: ${path} is not the JSON key file of a service account`);
  }
}

/** https://developers.google.com/identity/protocols/oauth2/service-account#httprest */
function signAssertion(account: ServiceAccount, subject: string, nowSeconds: number): Promise<string> {
  return new SignJWT({ scope: SCOPE })
    .setProtectedHeader({
      alg: 'RS256',
      typ: 'JWT',
      ...(account.keyId === undefined ? {} : { kid: account.keyId }),
    })
    .setIssuer(account.email)
    .setSubject(subject)
    .setAudience(account.tokenUri)
    .setIssuedAt(nowSeconds)
    .setExpirationTime(nowSeconds + 3600)
    .sign(account.key);
}

async function call(fetch: FetchFunction, url: string, init: RequestInit): Promise<unknown> {
  const response = await fetch(url, init);
  const body: unknown = await response.json().catch(() => null);
  if (response.status !== 200 || body === null) {
    throw refused(`${url.replace(/\?.*$/, '')} answered ${response.status}${errorMessage(body)}; ${REMEDY}`);
  }
  return body;
}

const REMEDY =
  'check domain-wide delegation for the scope admin.directory.group.readonly, and that admin_email is an administrator';

/** Google's APIs say `{"error": {"message"}}`, its token endpoint `{"error", "error_description"}`. */
function errorMessage(body: unknown): string {
  const { error, error_description: description } = (body ?? {}) as {
    error?: unknown;
    error_description?: unknown;
  };
  const message =
    typeof error === 'object' && error !== null
      ? (error as { message?: unknown }).message
      : (description ?? error);
  return typeof message === 'string' ? ` (${message.slice(0, 200)})` : '';
}

function refused(detail: string): SignInRefused {
  return new SignInRefused(
    'groups_lookup_failed',
    'Your groups could not be looked up in Google Workspace. Tell your administrator.',
    `google_groups: ${detail}`,
  );
}
