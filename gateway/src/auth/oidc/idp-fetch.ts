import { describeNetworkError, type FetchFunction } from '../../net/http-client.ts';
import { IdentityProviderUnavailable } from './errors.ts';

/** One request to an identity provider, everything included. */
export const IDP_TIMEOUT_MS = 10_000;

/**
 * Makes every way of not getting an answer look the same: no connection, no time, 429 and 5xx all throw
 * {@link IdentityProviderUnavailable}, whichever library asked.
 */
export function createIdpFetch(issuer: string, fetch: FetchFunction): FetchFunction {
  return async (url, init) => {
    let response: Response;
    try {
      response = await fetch(url, { ...init, signal: AbortSignal.timeout(IDP_TIMEOUT_MS) });
    } catch (error) {
      throw new IdentityProviderUnavailable(issuer, `${withoutQuery(url)}: ${describeNetworkError(error)}`, {
        cause: error,
      });
    }
    if (response.status >= 500 || response.status === 429) {
      await response.body?.cancel();
      throw new IdentityProviderUnavailable(issuer, `${withoutQuery(url)} answered ${response.status}`);
    }
    return response;
  };
}

/** The failure that {@link createIdpFetch} threw, however deep a library has wrapped it. */
export function unavailableCause(error: unknown): IdentityProviderUnavailable | null {
  for (let current = error; current instanceof Error; current = current.cause) {
    if (current instanceof IdentityProviderUnavailable) return current;
  }
  return null;
}

function withoutQuery(url: string | URL): string {
  return String(url).replace(/\?.*$/s, '');
}
