import { request, type Dispatcher } from 'undici';
import { readRegularFileLater } from '../regular-file.ts';

/** `auth` of an `anthropic` upstream with Workload Identity Federation, as in gateway.yaml. */
export interface FederationAuth {
  readonly federation_rule_id: string;
  readonly organization_id: string;
  /** The workload's OIDC token; read again for every exchange, since platforms rotate it in place. */
  readonly identity_token_file: string;
  readonly workspace_id?: string | undefined;
  readonly service_account_id?: string | undefined;
}

export interface FederationOptions {
  readonly auth: FederationAuth;
  /** Where the upstream is; the token endpoint is below it. */
  readonly baseUrl: URL;
  readonly dispatcher: Dispatcher;
  readonly userAgent: string;
  /** Milliseconds since the epoch. */
  readonly clock?: () => number;
  /** An exchange in the background failed; the bearer at hand still serves. */
  readonly onRefreshFailed?: (error: Error) => void;
  /** How long one exchange may take. Default 10 000 ms. */
  readonly timeoutMs?: number;
}

/** A new bearer is fetched this long before the old one expires, while the old one still serves. */
const REFRESH_AHEAD_MS = 5 * 60_000;
/** A bearer that is this close to its end is not sent any more. */
const UNUSABLE_MS = 30_000;
/** After a failed exchange in the background, the next one waits this long. */
const RETRY_MS = 10_000;
/** What an answer without `expires_in` is good for. */
const DEFAULT_LIFETIME_S = 600;
const BETAS = 'oauth-2025-04-20,oidc-federation-2026-04-01';
const MAX_ANSWER_BYTES = 64 * 1024;

interface Bearer {
  readonly token: string;
  readonly refreshAt: number;
  readonly unusableAt: number;
}

/**
 * Exchanges the workload's own token for a short-lived bearer of the Claude API (RFC 7523 §2.1) and keeps it fresh:
 * one exchange at a time, in the background when it can be, so that requests wait for the first one only.
 */
export class FederatedCredential {
  readonly #options: FederationOptions;
  readonly #clock: () => number;
  #bearer: Bearer | undefined;
  #exchange: Promise<string> | undefined;
  #notBefore = 0;

  constructor(options: FederationOptions) {
    this.#options = options;
    this.#clock = options.clock ?? Date.now;
  }

  /**
   * The bearer: at once when one is at hand, else a promise of it.
   *
   * @throws (rejects) Error saying what failed; without tokens, but possibly with the endpoint's own error text.
   */
  get(): string | Promise<string> {
    const now = this.#clock();
    const bearer = this.#bearer;
    if (bearer === undefined || now >= bearer.unusableAt) return this.#refresh();
    if (now >= bearer.refreshAt && now >= this.#notBefore) {
      this.#refresh().catch((error: unknown) => {
        this.#notBefore = this.#clock() + RETRY_MS;
        this.#options.onRefreshFailed?.(error instanceof Error ? error : new Error(String(error)));
      });
    }
    return bearer.token;
  }

  /** Forgets the bearer: the API refused it before its time. */
  discard(): void {
    this.#bearer = undefined;
  }

  #refresh(): Promise<string> {
    this.#exchange ??= this.#fetch().finally(() => {
      this.#exchange = undefined;
    });
    return this.#exchange;
  }

  async #fetch(): Promise<string> {
    const { auth, baseUrl, dispatcher, userAgent, timeoutMs = 10_000 } = this.#options;
    const assertion = (await readRegularFileLater(auth.identity_token_file)).trim();
    if (assertion === '') throw new Error('the identity token file is empty (auth.identity_token_file)');
    const response = await request(
      new URL(`${baseUrl.pathname.replace(/\/$/, '')}/v1/oauth/token`, baseUrl),
      {
        dispatcher,
        method: 'POST',
        headers: { 'content-type': 'application/json', 'user-agent': userAgent, 'anthropic-beta': BETAS },
        body: JSON.stringify({
          grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer',
          assertion,
          federation_rule_id: auth.federation_rule_id,
          organization_id: auth.organization_id,
          service_account_id: auth.service_account_id,
          workspace_id: auth.workspace_id,
        }),
        signal: AbortSignal.timeout(timeoutMs),
      },
    );
    const text = await readLimited(response.body);
    if (response.statusCode !== 200) {
      throw new Error(`token exchange answered ${response.statusCode}: ${errorText(text)}`);
    }
    const bearer = parseBearer(text, this.#clock());
    this.#bearer = bearer;
    return bearer.token;
  }
}

async function readLimited(body: Dispatcher.ResponseData['body']): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > MAX_ANSWER_BYTES) throw new Error('token exchange answered with too long a body');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

function parseBearer(text: string, now: number): Bearer {
  const answer = parseObject(text);
  const { access_token: token, expires_in: lifetime } = answer ?? {};
  if (typeof token !== 'string' || !/^[\x21-\x7e]+$/.test(token)) {
    throw new Error('token exchange answered without a usable access_token');
  }
  const seconds = typeof lifetime === 'number' && lifetime > 0 ? lifetime : DEFAULT_LIFETIME_S;
  const ms = seconds * 1000;
  return {
    token,
    // Of a very short life, the last fifth and the last twentieth.
    refreshAt: now + ms - Math.min(REFRESH_AHEAD_MS, ms / 5),
    unusableAt: now + ms - Math.min(UNUSABLE_MS, ms / 20),
  };
}

/** The error's code and description (RFC 6749 §5.2) or message (Anthropic's envelope); never the whole body. */
function errorText(text: string): string {
  const { error, error_description: description } = parseObject(text) ?? {};
  const nested =
    typeof error === 'object' && error !== null && 'message' in error ? error.message : undefined;
  const parts = [error, description, nested].filter((part) => typeof part === 'string');
  return parts.length === 0 ? 'no reason given' : parts.join(': ').slice(0, 300);
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
