import type { Dispatcher } from 'undici';
import { spliced, type Splice } from '../splice.ts';
import { FederatedCredential, type FederationAuth } from './federation.ts';
import { addOauthBeta, forwardedHeaders } from './headers.ts';
import type { InferenceRequest, PreparedRequest, Upstream } from './upstream.ts';

/** An `anthropic` entry of `upstreams`, as in gateway.yaml. */
export interface AnthropicConfig {
  readonly provider: 'anthropic';
  /** Defaults to the provider. */
  readonly name?: string | undefined;
  /** Default `https://api.anthropic.com`. A path in it is kept. */
  readonly base_url?: string | undefined;
  readonly auth: { readonly api_key: string } | { readonly oauth_token: string } | FederationAuth;
  /** Sent with every request, after all others. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
}

export interface AnthropicDeps {
  /** For the token exchange of Workload Identity Federation. */
  readonly dispatcher: Dispatcher;
  /** This gateway's product token (RFC 9110 §10.1.5), such as `claude-gateway/1.2.3`. */
  readonly userAgent: string;
  /** Milliseconds since the epoch. */
  readonly clock?: () => number;
  /** A token exchange in the background failed; requests are not affected yet. */
  readonly onRefreshFailed?: (error: Error) => void;
}

export const ANTHROPIC_BASE_URL = 'https://api.anthropic.com';

/** The Claude API itself: path, query, body and betas go through as they are. */
export function createAnthropicUpstream(config: AnthropicConfig, deps: AnthropicDeps): Upstream {
  const name = config.name ?? config.provider;
  const baseUrl = baseUrlOf(config);
  const basePath = baseUrl.pathname.replace(/\/$/, '');
  const extraHeaders = Object.entries(config.headers ?? {}).map(
    ([name, value]) => [name.toLowerCase(), value] as const,
  );
  const credential = createCredential(config.auth, baseUrl, deps);

  const finish = (request: InferenceRequest, model: string, headers: string[]): PreparedRequest => {
    for (const [header, value] of extraHeaders) setHeader(headers, header, value);
    return {
      origin: baseUrl.origin,
      path: basePath + request.path + request.query,
      headers,
      body: withModels(request, model, name),
    };
  };

  return {
    name,
    provider: config.provider,
    prepare(request, model) {
      const headers = forwardedHeaders(request.headers, deps.userAgent);
      const waiting = credential.authorize(headers);
      return waiting === undefined
        ? finish(request, model, headers)
        : waiting.then(() => finish(request, model, headers));
    },
    credentialRefused: () => credential.refused(),
  };
}

/** Many write the path of the API with it, which every request brings along: `/v1` at its end is left out. */
function baseUrlOf({ base_url: configured = ANTHROPIC_BASE_URL }: AnthropicConfig): URL {
  const url = new URL(configured);
  url.pathname = url.pathname.replace(/\/+$/, '').replace(/\/+v1(?:\/+messages)?$/, '');
  return url;
}

interface Credential {
  /** Adds the credential to the headers: at once, or when the promise resolves. */
  authorize(headers: string[]): Promise<void> | undefined;
  /** @returns whether the next one will be another. */
  refused(): boolean;
}

function createCredential(auth: AnthropicConfig['auth'], baseUrl: URL, deps: AnthropicDeps): Credential {
  if ('api_key' in auth) {
    return {
      authorize(headers) {
        headers.push('x-api-key', auth.api_key);
        return undefined;
      },
      refused: () => false,
    };
  }
  if ('oauth_token' in auth) {
    return {
      authorize(headers) {
        addBearer(headers, auth.oauth_token);
        return undefined;
      },
      refused: () => false,
    };
  }
  const federated = new FederatedCredential({ auth, baseUrl, ...deps });
  return {
    authorize(headers) {
      const token = federated.get();
      if (typeof token !== 'string') return token.then((fetched) => addBearer(headers, fetched));
      addBearer(headers, token);
      return undefined;
    },
    refused() {
      federated.discard();
      return true;
    },
  };
}

function addBearer(headers: string[], token: string): void {
  headers.push('authorization', `Bearer ${token}`);
  addOauthBeta(headers);
}

function setHeader(headers: string[], name: string, value: string): void {
  for (let i = 0; i < headers.length; i += 2) {
    if (headers[i] !== name) continue;
    headers[i + 1] = value;
    return;
  }
  headers.push(name, value);
}

/** The client's body, untouched unless a model goes by another name here. */
function withModels(request: InferenceRequest, model: string, upstream: string): Buffer {
  const { body, fields, requestedModel, otherModels } = request;
  const splices: Splice[] = [];
  if (fields.model !== undefined && model !== requestedModel) {
    splices.push({ span: fields.model, text: JSON.stringify(model) });
  }
  for (const { span, requested, upstreamModels } of otherModels) {
    const name = upstreamModels.get(upstream) ?? requested;
    if (name !== requested) splices.push({ span, text: JSON.stringify(name) });
  }
  return splices.length === 0 ? body : spliced(body, splices);
}
