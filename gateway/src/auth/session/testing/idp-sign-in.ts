import type { OidcProvider, SignedIn } from '../../oidc/provider.ts';

const SECRETS = { state: 'state-1', nonce: 'nonce-1', codeVerifier: 'v'.repeat(43) };

/** Goes through the development identity provider's pages as a browser would. */
export async function signInAtProvider(provider: OidcProvider, user: string): Promise<SignedIn> {
  const cookies = new Map<string, string>();
  const visit = async (url: URL, form?: Record<string, string>): Promise<Response> => {
    const response = await fetch(url, {
      redirect: 'manual',
      headers: { cookie: [...cookies].map(([name, value]) => `${name}=${value}`).join('; ') },
      ...(form === undefined ? {} : { method: 'POST', body: new URLSearchParams(form) }),
    });
    for (const cookie of response.headers.getSetCookie()) {
      const [name = '', value = ''] = (cookie.split(';', 1)[0] ?? '').split(/=(.*)/s);
      cookies.set(name, value);
    }
    return response;
  };

  let url = await provider.authorizationUrl(SECRETS);
  for (let step = 0; step < 10; step++) {
    let response = await visit(url);
    if (response.status === 200) response = await visit(url, { user });
    const location = response.headers.get('location');
    if (location === null)
      throw new Error(`${url.pathname} answered ${response.status}: ${await response.text()}`);
    url = new URL(location, url);
    if (url.pathname === '/oauth/callback') return provider.exchange(url, SECRETS);
  }
  throw new Error('the identity provider does not come to an end');
}
