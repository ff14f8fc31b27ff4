import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { exportJWK, generateKeyPair, type JWK } from 'jose';
import type { Adapter, AdapterPayload } from 'oidc-provider';

interface Entry {
  readonly payload: AdapterPayload;
  /** Milliseconds since the epoch; absent: never. */
  readonly expiresAt?: number;
}

/** What an identity provider signs with; the same after a restart, or every session would end with it. */
export interface ProviderKeys {
  readonly jwks: { readonly keys: JWK[] };
  readonly cookieKeys: string[];
}

/**
 * Everything that the development identity provider remembers: in memory, and, when there is a directory, also in
 * files that only their owner can read.
 */
export class ProviderStorage {
  readonly #entries: Map<string, Entry>;
  readonly #directory: string | undefined;
  #saving: NodeJS.Timeout | undefined;

  constructor(directory?: string) {
    this.#directory = directory;
    if (directory !== undefined) mkdirSync(directory, { recursive: true, mode: 0o700 });
    this.#entries = new Map(this.#read<[string, Entry][]>('state.json') ?? []);
  }

  async keys(): Promise<ProviderKeys> {
    const kept = this.#read<ProviderKeys>('keys.json');
    if (kept !== undefined) return kept;
    const { privateKey } = await generateKeyPair('RS256', { extractable: true });
    const keys: ProviderKeys = {
      jwks: { keys: [{ ...(await exportJWK(privateKey)), alg: 'RS256', use: 'sig' }] },
      cookieKeys: [randomBytes(32).toString('base64url')],
    };
    this.#write('keys.json', keys);
    return keys;
  }

  /** The view of one kind of record that oidc-provider asks for. */
  adapter(model: string): Adapter {
    const keyOf = (id: string): string => `${model}:${id}`;
    const findWhere = (matches: (payload: AdapterPayload) => boolean): AdapterPayload | undefined => {
      for (const [key, entry] of this.#entries) {
        if (key.startsWith(`${model}:`) && isLive(entry) && matches(entry.payload)) return entry.payload;
      }
      return undefined;
    };
    return {
      upsert: async (id, payload, expiresIn) => {
        const entry = expiresIn ? { payload, expiresAt: Date.now() + expiresIn * 1000 } : { payload };
        this.#entries.set(keyOf(id), entry);
        this.#changed();
      },
      find: async (id) => {
        const entry = this.#entries.get(keyOf(id));
        return entry !== undefined && isLive(entry) ? entry.payload : undefined;
      },
      findByUid: async (uid) => findWhere((payload) => payload.uid === uid),
      findByUserCode: async (userCode) => findWhere((payload) => payload.userCode === userCode),
      consume: async (id) => {
        const entry = this.#entries.get(keyOf(id));
        if (entry === undefined) return;
        this.#entries.set(keyOf(id), {
          ...entry,
          payload: { ...entry.payload, consumed: Math.floor(Date.now() / 1000) },
        });
        this.#changed();
      },
      destroy: async (id) => {
        this.#entries.delete(keyOf(id));
        this.#changed();
      },
      revokeByGrantId: async (grantId) => {
        for (const [key, entry] of this.#entries) {
          if (entry.payload.grantId === grantId) this.#entries.delete(key);
        }
        this.#changed();
      },
    };
  }

  /** Writes what has not been written yet. */
  flush(): void {
    clearTimeout(this.#saving);
    this.#saving = undefined;
    for (const [key, entry] of this.#entries) if (!isLive(entry)) this.#entries.delete(key);
    this.#write('state.json', [...this.#entries]);
  }

  /** One write for the burst of changes that a request makes. */
  #changed(): void {
    if (this.#directory === undefined) return;
    this.#saving ??= setTimeout(() => this.flush(), 50).unref();
  }

  #read<T>(name: string): T | undefined {
    if (this.#directory === undefined) return undefined;
    const path = join(this.#directory, name);
    return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as T) : undefined;
  }

  #write(name: string, value: unknown): void {
    if (this.#directory === undefined) return;
    const path = join(this.#directory, name);
    writeFileSync(`${path}.new`, JSON.stringify(value), { mode: 0o600 });
    chmodSync(`${path}.new`, 0o600);
    renameSync(`${path}.new`, path);
  }
}

function isLive(entry: Entry): boolean {
  return entry.expiresAt === undefined || entry.expiresAt > Date.now();
}
