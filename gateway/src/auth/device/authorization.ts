import { DuplicateCodeError } from '@claude-gateway/prisma';
import type { RequestHandler } from 'express';
import { contextOf } from '../../http/context.ts';
import { OAuthError } from '../../http/errors.ts';
import type { DeviceDependencies } from './dependencies.ts';
import { field } from './form.ts';
import { createSecret } from './secrets.ts';
import { clientNetwork, isClientAddressKnown } from '../../http/client-address.ts';
import { exceeds } from '../limits/rate-limit.ts';
import { createUserCode } from './user-code.ts';
import { digest } from '../digest.ts';

/** Lifetime of device and user codes, in seconds. */
export const GRANT_SECONDS = 600;
const POLL_INTERVAL_SECONDS = 5;

/** Names of client applications look like this; anything else is not recorded. */
const SURFACE = /^[A-Za-z0-9_.:-]{1,64}$/;

/** `POST /oauth/device_authorization` (RFC 8628 §3.1): a device code to poll with and a user code to type. */
export function authorizeDevice(deps: DeviceDependencies): RequestHandler {
  return async (request, response) => {
    const { id, clientAddress, trustedProxies } = contextOf(request);
    const { publicUrl, loginNotice, rateLimits } = deps.settings();
    const now = deps.clock();
    const surface = surfaceOf(field(request.body, 'surface'));
    const audit = (result: string): void => {
      deps.audit('device.authorize', { request_id: id, result, surface, client_ip: clientAddress });
    };

    const wait =
      deps.limits.take('device_authorization', clientAddress) ??
      (await exceeds(
        deps.rateLimits,
        `device_authorization:${clientNetwork(clientAddress)}`,
        rateLimits.device_authorization,
        now,
      ));
    if (wait !== undefined) {
      audit('rate_limited');
      throw new OAuthError(
        'slow_down',
        `Too many sign-ins were started from this network address; wait ${wait} s before the next one.`,
        { status: 429, headers: { 'retry-after': String(wait) } },
      );
    }

    const { deviceCode, userCode } = await createGrant(deps, {
      surface,
      // A proxy's address would make every device look like the browser that it is compared with.
      clientAddress: isClientAddressKnown(request, trustedProxies) ? clientAddress : '',
      now,
    });
    audit('success');
    response.set({ 'cache-control': 'no-store', pragma: 'no-cache' }).json({
      device_code: deviceCode,
      user_code: userCode,
      verification_uri: `${publicUrl}/device`,
      verification_uri_complete: `${publicUrl}/device?user_code=${userCode}`,
      expires_in: GRANT_SECONDS,
      interval: POLL_INTERVAL_SECONDS,
      login_notice: loginNotice,
    });
  };
}

/** How often a code that another live grant holds is drawn again; even once is a matter of years. */
const DRAWS = 3;

async function createGrant(
  deps: DeviceDependencies,
  { surface, clientAddress, now }: { surface: string | null; clientAddress: string; now: Date },
): Promise<{ deviceCode: string; userCode: string }> {
  for (let draw = 1; ; draw++) {
    const deviceCode = createSecret();
    const userCode = createUserCode();
    try {
      await deps.grants.create({
        deviceCodeHash: digest(deviceCode),
        userCodeHash: digest(userCode),
        surface,
        clientAddress,
        createdAt: now,
        expiresAt: new Date(now.getTime() + GRANT_SECONDS * 1000),
        intervalSeconds: POLL_INTERVAL_SECONDS,
      });
      return { deviceCode, userCode };
    } catch (error) {
      if (!(error instanceof DuplicateCodeError) || draw === DRAWS) throw error;
    }
  }
}

function surfaceOf(claimed: string | undefined): string | null {
  return claimed !== undefined && SURFACE.test(claimed) ? claimed : null;
}
