import { createHmac } from 'node:crypto';
import { describeNetworkError, type FetchFunction } from '../../net/http-client.ts';
import type { CloudEvent } from './event.ts';

/** As `alerts.webhooks` of the configuration has it. */
export interface AlertWebhook {
  readonly name: string;
  readonly url: string;
  /** `whsec_…`; all of them sign, so that a receiver can change from one to the next. */
  readonly secret: readonly string[];
}

/** Null when the receiver took it, else what went wrong, in words without secrets. */
export type PostResult = string | null;

/** The receiver wants no more of these (Standard Webhooks). */
const GONE = 410;

/**
 * Posts an event in structured mode, signed as Standard Webhooks say. Redirects are not followed: the signature is for
 * the configured receiver.
 */
export async function postEvent(
  webhook: AlertWebhook,
  event: CloudEvent,
  {
    fetch,
    now,
    userAgent,
    signal,
  }: { fetch: FetchFunction; now: Date; userAgent: string; signal: AbortSignal },
): Promise<PostResult> {
  const body = JSON.stringify(event);
  const timestamp = Math.floor(now.getTime() / 1000).toString();
  try {
    const response = await fetch(webhook.url, {
      method: 'POST',
      headers: {
        'content-type': 'application/cloudevents+json; charset=utf-8',
        'user-agent': userAgent,
        'webhook-id': event.id,
        'webhook-timestamp': timestamp,
        'webhook-signature': webhook.secret
          .map((secret) => `v1,${signatureOf(secret, `${event.id}.${timestamp}.${body}`)}`)
          .join(' '),
      },
      body,
      signal,
    });
    await response.body?.cancel();
    return response.ok || response.status === GONE ? null : `it answered ${response.status}`;
  } catch (error) {
    return describeNetworkError(error);
  }
}

function signatureOf(secret: string, content: string): string {
  const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64');
  return createHmac('sha256', key).update(content).digest('base64');
}
