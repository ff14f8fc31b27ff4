import type { RequestHandler } from 'express';
import { contextOf } from '../../http/context.ts';
import { AddressBuckets, type RateLimit } from './address-buckets.ts';

/** What of `rate_limits` is counted in memory, before anything asks the database. */
export interface SignInLimitSettings {
  readonly device_authorization: RateLimit;
  readonly token: RateLimit;
  readonly sign_in_pages: RateLimit;
}

export type SignInLimit = keyof SignInLimitSettings;

/** The limits per client address of everything that can be asked without a sign-in. One for each replica. */
export interface SignInLimits {
  /** @returns how many seconds to wait when there were too many, otherwise undefined. */
  take(limit: SignInLimit, address: string): number | undefined;
}

export function createSignInLimits(settings: SignInLimitSettings, clock: () => Date): SignInLimits {
  const buckets: Readonly<Record<SignInLimit, AddressBuckets>> = {
    device_authorization: new AddressBuckets(settings.device_authorization),
    token: new AddressBuckets(settings.token),
    sign_in_pages: new AddressBuckets(settings.sign_in_pages),
  };
  return { take: (limit, address) => buckets[limit].take(address, clock().getTime()) };
}

/** Refuses in the words of the endpoint, before the next handler. */
export function limited(
  limits: SignInLimits,
  limit: SignInLimit,
  refuse: (waitSeconds: number, ...parameters: Parameters<RequestHandler>) => void,
): RequestHandler {
  return (request, response, next) => {
    const wait = limits.take(limit, contextOf(request).clientAddress);
    if (wait === undefined) next();
    else refuse(wait, request, response, next);
  };
}
