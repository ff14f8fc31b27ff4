import type { IncomingHttpHeaders } from 'node:http';
import type { ScannedBody, Span } from './body-scanner.ts';

/** The endpoints of the Messages API that are relayed. */
export type InferencePath = '/v1/messages' | '/v1/messages/count_tokens';

/** A model that a request names beside its own: a tool asks it, or it answers when the other declines. */
export interface OtherModel {
  /** Where it stands, for people: `tools.3.model`. */
  readonly path: string;
  /** Of its name in the body, with the quotes. */
  readonly span: Pick<Span, 'start' | 'end'>;
  /** What the client called it. */
  readonly requested: string;
  /** The catalog's name. */
  readonly canonical: string;
  /** What it is called at each upstream that serves it, by the upstream's name. */
  readonly upstreamModels: ReadonlyMap<string, string>;
}

/** One client request, as every upstream of the failover chain gets to see it. */
export interface InferenceRequest {
  readonly path: InferencePath;
  /** Query string with its question mark, or empty. */
  readonly query: string;
  /** Headers of the client; credentials are still in there (see `forwardedHeaders`). */
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  readonly fields: ScannedBody['fields'];
  readonly words: ScannedBody['words'];
  readonly tools: ScannedBody['tools'];
  readonly fallbacks: ScannedBody['fallbacks'];
  /** What the client called the model. */
  readonly requestedModel: string;
  /** The models that the request names beside that one. */
  readonly otherModels: readonly OtherModel[];
  /** The value of `stream`: only `true` asks for server-sent events. */
  readonly stream: boolean;
}

/** What goes over the wire to an upstream. */
export interface PreparedRequest {
  /** Scheme, host and port. */
  readonly origin: string;
  /** Path and query. */
  readonly path: string;
  /** Names and values in turn, without `host` and `content-length`. */
  readonly headers: string[];
  readonly body: Buffer;
}

/** One entry of `upstreams`: where inference can go, in the dialect of its provider. */
export interface Upstream {
  /** Unique in the configuration; defaults to the provider. */
  readonly name: string;
  readonly provider: string;
  /**
   * Translates a request for this upstream.
   *
   * @param model The model's id at this upstream.
   * @throws when no credential can be obtained: the attempt has failed and the next upstream is tried.
   */
  prepare(request: InferenceRequest, model: string): PreparedRequest | Promise<PreparedRequest>;
  /**
   * Told that the upstream refused the credential (401), so that a cached one is not used again.
   *
   * @returns whether the next one will be another: the request is then tried once more.
   */
  credentialRefused?(): boolean;
}
