import { describe, expect, it } from '@jest/globals';
import type { Store } from '@claude-gateway/prisma';
import { Databases, type DatabasesOptions } from './databases.ts';

const target = { url: 'postgres://me@db.example:5432/gateway', connectTimeoutSeconds: 5 };

/** A store that is empty, and says when it was closed. */
function emptyStore(): { store: Store; closed: () => boolean } {
  let closed = false;
  const policies = {
    readOwned: async () => ({ revision: 0n, owned: new Map() }),
    replicas: async () => [],
    spending: async () => [],
    settingsClients: async () => new Map(),
    seen: async () => ({ groups: new Set(), users: new Set() }),
  };
  const store = { policies, close: async () => void (closed = true) } as unknown as Store;
  return { store, closed: () => closed };
}

function usingDatabases(open: DatabasesOptions['open']) {
  const changes: string[][] = [];
  const databases = new Databases({
    open,
    subjects: () => ({ groups: [], users: [] }),
    onChange: (gateways) => void changes.push([...gateways]),
    log: { info: () => undefined, warn: () => undefined, error: () => undefined },
    patience: 5,
  });
  return { databases, changes };
}

describe('a database that is long in coming', () => {
  it('is waited for no longer than a moment, and told of when it is there', async () => {
    const { promise, resolve } = Promise.withResolvers<Store>();
    let opened = 0;
    const { databases, changes } = usingDatabases(() => (opened++, promise));
    await expect(databases.attach('a/one', target)).rejects.toThrow(
      'db.example:5432/gateway was not ready after 0.005 s',
    );
    await expect(databases.attach('a/one', target)).rejects.toThrow('was not ready');
    expect(databases.problemOf('a/one')).toContain('still being connected to or migrated');
    expect(opened).toBe(1);
    changes.length = 0;

    const { store, closed } = emptyStore();
    resolve(store);
    await promise;
    await expect(databases.attach('a/one', target)).resolves.toBe(databases.of('a/one'));
    expect(changes).toContainEqual(['a/one']);
    expect(databases.problemOf('a/one')).toBeUndefined();
    await databases.close();
    expect(closed()).toBe(true);
  });

  it('is looked for anew when it did not come', async () => {
    const attempts = [Promise.withResolvers<Store>(), Promise.withResolvers<Store>()];
    let opened = 0;
    const { databases, changes } = usingDatabases(() => attempts[opened++]!.promise);
    await expect(databases.attach('a/one', target)).rejects.toThrow('was not ready');
    changes.length = 0;
    attempts[0]!.reject(new Error('no answer in time'));
    await attempts[0]!.promise.catch(() => undefined);
    await new Promise(setImmediate);
    expect(changes).toEqual([['a/one']]);
    attempts[1]!.reject(new Error('wrong password'));
    await expect(databases.attach('a/one', target)).rejects.toThrow('wrong password');
    expect(opened).toBe(2);
  });

  it('keeps nobody from leaving it, and is closed when it comes', async () => {
    const { promise, resolve } = Promise.withResolvers<Store>();
    const { databases } = usingDatabases(() => promise);
    await expect(databases.attach('a/one', target)).rejects.toThrow('was not ready');
    await databases.detach('a/one');
    const { store, closed } = emptyStore();
    resolve(store);
    await new Promise((go) => setTimeout(go, 20));
    expect(closed()).toBe(true);
  });
});
