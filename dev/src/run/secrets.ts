import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';

/** What the development gateway keeps secret. Made once, so that sessions outlive a restart. */
export interface DevelopmentSecrets {
  readonly jwtSecret: string;
  readonly clientSecret: string;
  /** Of the admin API. */
  readonly adminKey: string;
}

/** Reads the secrets, or makes them and keeps them where only their owner can read them. */
export function developmentSecrets(path: string): DevelopmentSecrets {
  const kept = existsSync(path)
    ? (JSON.parse(readFileSync(path, 'utf8')) as Partial<DevelopmentSecrets>)
    : undefined;
  const secrets = { jwtSecret: secret(), clientSecret: secret(), adminKey: secret(), ...kept };
  if (kept?.adminKey !== undefined) return secrets;
  writeFileSync(path, `${JSON.stringify(secrets, null, 2)}\n`, { mode: 0o600 });
  return secrets;
}

function secret(): string {
  return randomBytes(32).toString('base64url');
}
