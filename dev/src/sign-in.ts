/**
 * `make sign-in`: signs in to the gateway of `make dev` the way a device without a browser does (RFC 8628), and prints
 * the two variables with which Claude Code uses the token. Everything for people goes to stderr.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

interface Metadata {
  readonly device_authorization_endpoint: string;
  readonly token_endpoint: string;
}

interface DeviceAuthorization {
  readonly device_code: string;
  readonly user_code: string;
  readonly verification_uri_complete: string;
  /** Seconds. */
  readonly interval: number;
}

interface TokenAnswer {
  readonly access_token?: string;
  readonly error?: string;
}

async function signIn(url: string): Promise<string> {
  const metadata = await json<Metadata>(`${url}/.well-known/oauth-authorization-server`);
  const device = await json<DeviceAuthorization>(
    metadata.device_authorization_endpoint,
    new URLSearchParams(),
  );
  console.error(`Open ${device.verification_uri_complete}\nand confirm the code ${device.user_code}`);
  for (let intervalMs = device.interval * 1000; ;) {
    await sleep(intervalMs);
    const answer = await json<TokenAnswer>(
      metadata.token_endpoint,
      new URLSearchParams({
        grant_type: 'urn:ietf:params:oauth:grant-type:device_code',
        device_code: device.device_code,
      }),
    );
    if (answer.access_token !== undefined) return answer.access_token;
    if (answer.error === 'slow_down') intervalMs += 5000;
    else if (answer.error !== 'authorization_pending') throw new Error(`sign-in ended: ${answer.error}`);
  }
}

async function json<T>(url: string, body?: URLSearchParams): Promise<T> {
  const response = await fetch(url, body === undefined ? {} : { method: 'POST', body });
  return (await response.json()) as T;
}

/** Where `make dev` runs. */
function developmentUrl(): string {
  const home = process.env['CLAUDE_GATEWAY_DEV_HOME'] ?? resolve(import.meta.dirname, '../../.dev');
  const path = join(home, 'claude', 'settings.json');
  if (!existsSync(path)) throw new Error('start the gateway first: make dev');
  return (JSON.parse(readFileSync(path, 'utf8')) as { forceLoginGatewayUrl: string }).forceLoginGatewayUrl;
}

try {
  const url = process.argv[2] ?? developmentUrl();
  const token = await signIn(url);
  console.log(`export ANTHROPIC_BASE_URL=${url} ANTHROPIC_AUTH_TOKEN=${token}`);
} catch (error) {
  const { message, cause } = error as Error;
  console.error(`sign-in: ${message}${cause instanceof Error ? `: ${cause.message}` : ''}`);
  process.exitCode = 1;
}
