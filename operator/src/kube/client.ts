import {
  Agent as HttpAgent,
  request as httpRequest,
  type ClientRequest,
  type IncomingMessage,
} from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest, type RequestOptions } from 'node:https';
import { KubeConfig } from '@kubernetes/client-node';
import { KubeError, type KubeCall } from './errors.ts';
import { pathOf, type KubeObject, type ResourceType } from './objects.ts';

export interface KubeClientOptions {
  /** Sent as User-Agent: shows in the API server's audit log. */
  readonly userAgent: string;
  /** For a whole request other than a watch, in ms. Default 30 000. */
  readonly timeout?: number;
}

export interface KubeList<T> {
  metadata: { resourceVersion: string; continue?: string };
  items: T[];
}

export interface ListOptions {
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
  readonly limit?: number;
  readonly continue?: string | undefined;
  readonly signal?: AbortSignal;
}

/** What stands on one line of a watch. */
export interface WatchEvent<T> {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR';
  readonly object: T;
}

export interface WatchOptions {
  readonly namespace?: string | undefined;
  readonly labelSelector?: string | undefined;
  readonly fieldSelector?: string | undefined;
  readonly resourceVersion: string;
  /** After which the server ends the watch, in seconds. */
  readonly timeoutSeconds: number;
  /** Longest silence before the connection counts as dead, in ms. */
  readonly silence: number;
  readonly signal: AbortSignal;
}

export interface DeleteOptions {
  /** Deletes only the object that has this uid, not a successor of the same name. */
  readonly uid?: string | undefined;
  readonly resourceVersion?: string | undefined;
  readonly propagationPolicy?: 'Background' | 'Foreground' | 'Orphan';
}

export interface CallOptions {
  /** Gives the call up; the server may have done it all the same. */
  readonly signal?: AbortSignal | undefined;
}

interface Send {
  readonly method: string;
  readonly query?: Record<string, string | number | boolean | undefined>;
  readonly body?: unknown;
  readonly contentType?: string;
  readonly signal?: AbortSignal | undefined;
}

/**
 * The few calls that controllers need, over node:https. client-node contributes the configuration and the
 * credentials (token files are read again every minute); its generated API is not used, since it turns every object
 * into class instances with Dates, which neither compare nor apply as they were.
 */
export class KubeClient {
  readonly #config: KubeConfig;
  readonly #userAgent: string;
  readonly #timeout: number;
  readonly #server: URL;
  readonly #agent: HttpAgent;

  constructor(config: KubeConfig, options: KubeClientOptions) {
    const cluster = config.getCurrentCluster();
    if (cluster === null) throw new Error('the kubeconfig names no current cluster: set current-context');
    this.#config = config;
    this.#userAgent = options.userAgent;
    this.#timeout = options.timeout ?? 30_000;
    this.#server = new URL(cluster.server);
    this.#agent =
      this.#server.protocol === 'http:'
        ? new HttpAgent({ keepAlive: true })
        : new HttpsAgent({ keepAlive: true });
  }

  /** @throws KubeError notFound */
  async get<T extends KubeObject>(
    type: ResourceType,
    namespace: string | undefined,
    name: string,
    { signal }: CallOptions = {},
  ): Promise<T> {
    return (await this.#json({ verb: 'get', type, namespace, name }, { method: 'GET', signal })) as T;
  }

  /** One page. @throws KubeError gone when `continue` has expired. */
  async list<T extends KubeObject>(type: ResourceType, options: ListOptions = {}): Promise<KubeList<T>> {
    const { namespace, signal, ...query } = options;
    return (await this.#json(
      { verb: 'list', type, namespace },
      { method: 'GET', query: { ...query }, signal },
    )) as KubeList<T>;
  }

  /** @throws KubeError alreadyExists, invalid */
  async create<T extends KubeObject>(
    type: ResourceType,
    object: T,
    { signal }: CallOptions = {},
  ): Promise<T> {
    const { namespace } = object.metadata;
    return (await this.#json(
      { verb: 'create', type, namespace },
      { method: 'POST', body: object, signal },
    )) as T;
  }

  /** Replaces the object as a whole. @throws KubeError conflict when its resourceVersion is not the present one. */
  async update<T extends KubeObject>(
    type: ResourceType,
    object: T,
    { signal }: CallOptions = {},
  ): Promise<T> {
    const { namespace, name } = object.metadata;
    return (await this.#json(
      { verb: 'update', type, namespace, name },
      { method: 'PUT', body: object, signal },
    )) as T;
  }

  /** JSON merge patch (RFC 7386); a resourceVersion in it is a precondition. */
  async mergePatch<T extends KubeObject>(
    type: ResourceType,
    namespace: string | undefined,
    name: string,
    body: unknown,
  ): Promise<T> {
    const contentType = 'application/merge-patch+json';
    return (await this.#json(
      { verb: 'patch', type, namespace, name },
      { method: 'PATCH', body, contentType },
    )) as T;
  }

  /** Server-side apply with force: what this manager says, holds. */
  async apply<T extends KubeObject>(
    type: ResourceType,
    object: KubeObject,
    fieldManager: string,
    subresource?: 'status',
  ): Promise<T> {
    const { namespace, name } = object.metadata;
    return (await this.#json(
      { verb: 'patch', type, namespace, name, subresource },
      {
        method: 'PATCH',
        query: { fieldManager, force: true },
        body: object,
        contentType: 'application/apply-patch+yaml',
      },
    )) as T;
  }

  /** @throws KubeError notFound; conflict when a precondition does not hold. */
  async delete(
    type: ResourceType,
    namespace: string | undefined,
    name: string,
    options: DeleteOptions = {},
  ): Promise<void> {
    const { uid, resourceVersion, propagationPolicy } = options;
    const preconditions = { ...(uid && { uid }), ...(resourceVersion && { resourceVersion }) };
    await this.#json(
      { verb: 'delete', type, namespace, name },
      {
        method: 'DELETE',
        body: {
          apiVersion: 'v1',
          kind: 'DeleteOptions',
          preconditions,
          ...(propagationPolicy && { propagationPolicy }),
        },
      },
    );
  }

  /**
   * Hands every event to `onEvent`, one after the other; ends when the server ends the watch, and when nothing is heard for
   * too long: nothing may have happened, or the connection is dead, which the next watch shows.
   *
   * @throws KubeError when it cannot be started, or breaks.
   */
  async watch<T>(
    type: ResourceType,
    options: WatchOptions,
    onEvent: (event: WatchEvent<T>) => void,
  ): Promise<void> {
    const { namespace, signal, silence, ...rest } = options;
    const call: KubeCall = { verb: 'watch', type, namespace };
    const query = { ...rest, watch: true, allowWatchBookmarks: true };
    const response = await this.#send(call, { method: 'GET', query, signal }, silence);
    let wasSilent = false;
    const silent = setTimeout(() => {
      wasSilent = true;
      response.destroy();
    }, silence);
    try {
      response.setEncoding('utf8');
      let rest = '';
      for await (const chunk of response as AsyncIterable<string>) {
        silent.refresh();
        const lines = (rest + chunk).split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) if (line !== '') onEvent(JSON.parse(line) as WatchEvent<T>);
      }
    } catch (error) {
      if (wasSilent) return;
      throw error instanceof KubeError ? error : noAnswer(call, error);
    } finally {
      clearTimeout(silent);
      response.destroy();
    }
  }

  /** Closes idle connections. */
  close(): void {
    this.#agent.destroy();
  }

  async #json(call: KubeCall, send: Send): Promise<unknown> {
    const signal = AbortSignal.timeout(this.#timeout);
    const both = send.signal === undefined ? signal : AbortSignal.any([signal, send.signal]);
    const response = await this.#send(call, { ...send, signal: both }, this.#timeout);
    try {
      return JSON.parse(await text(response));
    } catch (error) {
      throw noAnswer(call, error);
    }
  }

  /** @returns a successful response, whose body is yet to be read. */
  async #send(call: KubeCall, send: Send, headersWithin: number): Promise<IncomingMessage> {
    let response: IncomingMessage;
    try {
      response = await this.#exchange(call, send, headersWithin);
    } catch (error) {
      throw noAnswer(call, error);
    }
    const status = response.statusCode ?? 0;
    if (status >= 200 && status < 300) return response;
    const body = await text(response).catch(() => '');
    const { message, reason } = parseStatus(body);
    const retryAfter = Number(response.headers['retry-after']) || undefined;
    throw new KubeError(call, status, message ?? `the API server answered ${status}`, reason, retryAfter);
  }

  async #exchange(call: KubeCall, send: Send, headersWithin: number): Promise<IncomingMessage> {
    const { path, options, body } = await this.#prepare(call, send);
    const open = this.#server.protocol === 'http:' ? httpRequest : httpsRequest;
    for (;;) {
      const attempt = await new Promise<IncomingMessage | 'stale'>((resolve, reject) => {
        const request: ClientRequest = open(new URL(path, this.#server), options, (response) => {
          clearTimeout(late);
          resolve(response);
        });
        const late = setTimeout(
          () => request.destroy(new Error(`no answer within ${headersWithin} ms`)),
          headersWithin,
        );
        request.on('error', (error: NodeJS.ErrnoException) => {
          clearTimeout(late);
          // The server closed an idle connection while we reached for it; nothing was asked yet.
          if (request.reusedSocket && error.code === 'ECONNRESET' && send.method === 'GET') resolve('stale');
          else reject(error);
        });
        request.end(body);
      });
      if (attempt !== 'stale') return attempt;
    }
  }

  async #prepare(
    { type, namespace, name, subresource }: KubeCall,
    { method, query = {}, body, contentType = 'application/json', signal }: Send,
  ): Promise<{ path: string; options: RequestOptions; body: string | undefined }> {
    const search = new URLSearchParams();
    for (const [key, value] of Object.entries(query)) if (value !== undefined) search.set(key, String(value));
    const base = this.#server.pathname.replace(/\/$/, '');
    const path = `${base}${pathOf(type, namespace, name, subresource)}${search.size > 0 ? `?${search.toString()}` : ''}`;
    const payload = body === undefined ? undefined : JSON.stringify(body);
    const options: RequestOptions = { method, headers: {} };
    await this.#config.applyToHTTPSOptions(options);
    // Connections are pooled by CA and client certificate, so a rotated one takes effect with the next request.
    if (!this.#config.getCurrentCluster()?.proxyUrl) options.agent = this.#agent;
    options.headers = {
      ...(options.headers as Record<string, string>),
      accept: 'application/json',
      'user-agent': this.#userAgent,
      ...(payload !== undefined && {
        'content-type': contentType,
        'content-length': Buffer.byteLength(payload),
      }),
    };
    if (signal) options.signal = signal;
    return { path, options, body: payload };
  }
}

/**
 * In a pod the service account; elsewhere $KUBECONFIG or ~/.kube/config.
 *
 * @throws Error naming what was looked for.
 */
export function loadKubeConfig(source: 'in-cluster' | 'default' | { readonly file: string }): KubeConfig {
  const config = new KubeConfig();
  if (source === 'in-cluster') config.loadFromCluster();
  else if (source === 'default') config.loadFromDefault();
  else config.loadFromFile(source.file);
  return config;
}

function noAnswer(call: KubeCall, cause: unknown): KubeError {
  return new KubeError(
    call,
    0,
    cause instanceof Error ? cause.message || cause.name : 'no answer',
    undefined,
    undefined,
    cause,
  );
}

function parseStatus(body: string): { message?: string; reason?: string } {
  try {
    return JSON.parse(body) as { message?: string; reason?: string };
  } catch {
    return body === '' ? {} : { message: body.slice(0, 500) };
  }
}

async function text(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
}
