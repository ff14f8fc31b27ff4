import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ApiServer } from '@claude-gateway/dev';
import { Agent, request } from 'undici';

/** An answer of the API server; errors are a `Status` object, or have a `message` alone where it answers with a text. */
export interface KubeAnswer {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
}

/** An API server that tests talk to as an administrator, without a client between them and its answers. */
export class TestApiServer extends ApiServer {
  // Its certificate is made by itself.
  readonly #http = new Agent({ connect: { rejectUnauthorized: false } });

  /** One request. @param path below the root, such as `/api/v1/namespaces`. */
  async call(
    method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE',
    path: string,
    body?: unknown,
    contentType = 'application/json',
  ): Promise<KubeAnswer> {
    const answer = await request(`${this.url}${path}`, {
      method,
      dispatcher: this.#http,
      headers: {
        authorization: `Bearer ${this.token}`,
        accept: 'application/json',
        ...(body === undefined ? {} : { 'content-type': contentType }),
      },
      body: body === undefined ? null : JSON.stringify(body),
    });
    const text = await answer.body.text();
    const isJson = String(answer.headers['content-type']).startsWith('application/json');
    // A kind that is defined and not served yet is `404 page not found`.
    const document = isJson ? (JSON.parse(text) as KubeAnswer['body']) : { message: text };
    return { status: answer.statusCode, body: document };
  }

  /** `kubectl apply --server-side`, as `manager`. */
  async apply(path: string, object: unknown, manager = 'test', query = ''): Promise<KubeAnswer> {
    return await this.call(
      'PATCH',
      `${path}?fieldManager=${manager}&fieldValidation=Strict${query}`,
      object,
      'application/apply-patch+yaml',
    );
  }

  /** For kubectl and helm: the path of a kubeconfig. */
  kubeconfigFile(): string {
    const file = join(this.directory, 'kubeconfig');
    writeFileSync(file, JSON.stringify(this.kubeconfig()), { mode: 0o600 });
    return file;
  }

  override async stop(): Promise<void> {
    await this.#http.close();
    await super.stop();
  }
}
