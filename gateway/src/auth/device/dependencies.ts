import type { DeviceGrantStore, RateLimitStore } from '@claude-gateway/prisma';
import type { TokenHolder } from '../session/tokens.ts';
import type { RateLimit } from '../limits/address-buckets.ts';
import type { SignInLimits } from '../limits/sign-in-limits.ts';
import type { Audit } from '../../observe/audit.ts';
import type { OidcProvider } from '../oidc/provider.ts';
import type { Sealer } from '../session/sealer.ts';

/** What this router asks of an identity provider. */
export type SignInProvider = Pick<
  OidcProvider,
  'id' | 'label' | 'formActionOrigins' | 'authorizationUrl' | 'exchange'
>;

/** What of the configuration concerns this router. */
export interface DeviceSettings {
  /** The origin under which clients and browsers reach the gateway, without a trailing slash. */
  readonly publicUrl: string;
  /** The organisation's words next to the code: plain text. */
  readonly loginNotice?: string | undefined;
  /** Per client address. */
  readonly rateLimits: {
    readonly device_authorization: RateLimit;
    /** Wrong user codes. */
    readonly device_verify: RateLimit;
    /** Right ones. */
    readonly device_confirm: RateLimit;
  };
}

export interface DeviceDependencies {
  readonly grants: Omit<DeviceGrantStore, 'poll'>;
  readonly rateLimits: RateLimitStore;
  /** Of this replica: what is refused before the store is asked. */
  readonly limits: SignInLimits;
  /** Whether a token can name this person. @throws TokenTooLarge */
  readonly assertMintable: (holder: TokenHolder) => Promise<void>;
  readonly sealer: Sealer;
  /** Asked on every request, so that a reloaded configuration takes effect. */
  settings(): DeviceSettings;
  /** At least one, in the order of the configuration. */
  providers(): readonly SignInProvider[];
  readonly audit: Audit;
  readonly clock: () => Date;
}
