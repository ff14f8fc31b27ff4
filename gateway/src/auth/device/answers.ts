import type { Request, Response } from 'express';
import { contextOf } from '../../http/context.ts';
import { sendPage, type Page } from '../../http/page.ts';
import type { DeviceDependencies } from './dependencies.ts';

/** Answers with a page of this router. */
export function answerPage(
  deps: DeviceDependencies,
  request: Request,
  response: Response,
  page: Page & { status?: number },
  options: { forms?: boolean; headers?: Record<string, string> } = {},
): void {
  sendPage(response, {
    ...page,
    secure: deps.settings().publicUrl.startsWith('https:'),
    ...(options.forms === true
      ? { formActionOrigins: deps.providers().flatMap((provider) => provider.formActionOrigins) }
      : {}),
    ...(options.headers && { headers: options.headers }),
    // People quote the reference of a page that stopped them.
    ...((page.status ?? 200) >= 400 && { reference: contextOf(request).id }),
  });
}

/** One line of the audit stream about a code or a sign-in; never the code itself. */
export function audit(
  deps: DeviceDependencies,
  request: Request,
  result: string,
  fields: Record<string, unknown> = {},
): void {
  const { id, clientAddress } = contextOf(request);
  deps.audit('device.verify', { request_id: id, result, client_ip: clientAddress, ...fields });
}

export function auditDenied(
  deps: DeviceDependencies,
  request: Request,
  reason: string,
  fields: Record<string, unknown> = {},
): void {
  const { id, clientAddress } = contextOf(request);
  deps.audit('auth.denied', {
    request_id: id,
    reason,
    path: request.path,
    client_ip: clientAddress,
    ...fields,
  });
}
