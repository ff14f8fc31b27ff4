import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '@claude-gateway/dev';
import { openStore, type ManagedPolicyContent, type Store } from '@claude-gateway/prisma';
import { mintBearer } from './harness/bearer.ts';
import { GatewayProcess } from './harness/gateway-process.ts';
import { startStack, type Stack } from './harness/stack.ts';

let stack: Stack;
let store: Store;
beforeAll(async () => {
  stack = await startStack({ replicas: 2 });
  const { postgres_url: url } = stack.document()['store'] as { postgres_url: string };
  store = await openStore({ url, maxConnections: 4, connectTimeoutSeconds: 20, revocationTtlSeconds: 3600 });
}, 120_000);
afterAll(async () => {
  await store.close();
  await stack.stop();
});

/** A ManagedSettings as the operator writes it. */
class Settings {
  readonly uid = randomUUID();
  readonly name: string;

  constructor(name: string) {
    this.name = name;
  }

  get label(): string {
    return `ManagedSettings claude/${this.name}`;
  }

  change(document: unknown, priority = 0) {
    const content: ManagedPolicyContent = { name: this.name, priority, position: 0, document };
    return this.#rows([content]);
  }

  gone() {
    return this.#rows([]);
  }

  #rows(managed: readonly ManagedPolicyContent[]) {
    const owner = { kind: 'ManagedSettings', namespace: 'claude', name: this.name, uid: this.uid };
    return { owner, policyName: this.name, managed };
  }
}

const write = (...changes: ReturnType<Settings['change']>[]) =>
  store.policies.replaceOwned(changes, new Date());

const bearer = (groups: readonly string[]): string =>
  mintBearer(
    { sub: 'dora', email: 'dora@corp.example', groups },
    { secret: 'a-secret-of-at-least-thirty-two-bytes-for-tests', issuer: stack.url, program: 'ours' },
  );

const fetchSettings = (
  replica: GatewayProcess,
  token: string,
  headers: Record<string, string> = {},
): Promise<Response> =>
  fetch(`${replica.url}/managed/settings`, { headers: { authorization: `Bearer ${token}`, ...headers } });

interface SettingsBody {
  readonly settings: {
    readonly model?: string;
    readonly env?: Record<string, string>;
    readonly permissions?: unknown;
  };
}

/** What each replica gives somebody in these groups. */
const served = (groups: readonly string[]): Promise<SettingsBody['settings'][]> =>
  Promise.all(
    stack.replicas.map(async (replica) => {
      const response = await fetchSettings(replica, bearer(groups));
      expect(response.status).toBe(200);
      return ((await response.json()) as SettingsBody).settings;
    }),
  );

const modelsOf = async (groups: readonly string[]) => (await served(groups)).map(({ model }) => model);

/** Waits for something that comes by itself. */
async function until(condition: () => Promise<boolean> | boolean): Promise<void> {
  const deadline = performance.now() + 30_000;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error('it did not come');
    await sleep(25);
  }
}

const untilModels = (groups: readonly string[], model: string | undefined): Promise<void> =>
  until(async () => (await modelsOf(groups)).every((served) => served === model));

const untilReported = (revision: bigint): Promise<void> =>
  until(async () => {
    const replicas = await store.policies.replicas();
    return replicas.length === 2 && replicas.every(({ policyRevision }) => policyRevision === revision);
  });

const message = (replica: GatewayProcess, token: string, model: string): Promise<Response> =>
  fetch(`${replica.url}/v1/messages`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${token}`,
      'content-type': 'application/json',
      'anthropic-version': '2023-06-01',
    },
    body: JSON.stringify({ model, max_tokens: 64, messages: [{ role: 'user', content: 'hello' }] }),
  });

describe('managed settings that resources brought', () => {
  it('reach clients of every replica without a restart, and every replica says so', async () => {
    const eng = new Settings('eng');
    expect(await modelsOf(['eng'])).toEqual([undefined, undefined]);
    const { revision } = await write(
      eng.change({ match: { groups: ['eng'] }, cli: { model: 'opus', availableModels: ['opus'] } }),
    );
    await untilReported(revision);
    // What is reported is in force: no waiting here.
    for (const settings of await served(['eng'])) {
      expect(settings).toMatchObject({ model: 'opus', permissions: { deny: ['WebFetch'] } });
    }
    for (const replica of stack.replicas) {
      expect((await message(replica, bearer(['eng']), 'claude-opus-4-8')).status).toBe(200);
      expect((await message(replica, bearer(['eng']), 'claude-haiku-4-5')).status).toBe(400);
      expect(replica.audit('managed.serve').at(-1)).toMatchObject({ policies: [eng.label] });
    }
    for (const { version } of await store.policies.replicas()) expect(version).toEqual(expect.any(String));
    const gone = await write(eng.gone());
    await untilReported(gone.revision);
    expect(await modelsOf(['eng'])).toEqual([undefined, undefined]);
  });

  it('harm no other when they make no sense', async () => {
    const [good, bad] = [new Settings('good'), new Settings('bad')];
    const { revision } = await write(
      good.change({ match: { groups: ['x'] }, cli: { model: 'good' } }),
      bad.change({ match: { groups: ['x'] }, cli: 'nonsense' }, 9),
    );
    await untilReported(revision);
    expect(await modelsOf(['x'])).toEqual(['good', 'good']);
    const mine = (replica: GatewayProcess, { label }: Settings) =>
      replica.audit('policy.reject').filter(({ policy }) => policy === label);
    for (const replica of stack.replicas) expect(mine(replica, bad)).toHaveLength(1);

    const worse = await write(good.change({ match: { groups: ['x'] }, cli: { model: 7 } }));
    await untilReported(worse.revision);
    expect(await modelsOf(['x'])).toEqual(['good', 'good']);
    for (const replica of stack.replicas) {
      expect(mine(replica, good)).toEqual([
        expect.objectContaining({ reason: expect.stringContaining('cli.model') }),
      ]);
    }
    await write(good.gone(), bad.gone());
    await untilModels(['x'], undefined);
  });

  it('tell who has them', async () => {
    const settings = new Settings('counted');
    const clients = async () => (await store.policies.settingsClients(new Date())).get(settings.uid);
    const first = await write(settings.change({ match: { groups: ['y'] }, cli: { model: 'one' } }));
    await untilReported(first.revision);
    const [replica] = stack.replicas as [GatewayProcess];
    const devices = [bearer(['y']), bearer(['y']), bearer(['y'])];
    for (const device of devices) await fetchSettings(replica, device);
    await fetchSettings(replica, bearer(['somebody else']));
    await until(async () => (await clients())?.current === 3);
    expect(await clients()).toEqual({ current: 3, stale: 0 });

    const second = await write(settings.change({ match: { groups: ['y'] }, cli: { model: 'two' } }));
    await untilReported(second.revision);
    expect(await clients()).toEqual({ current: 0, stale: 3 });
    const [device = ''] = devices;
    const answer = await fetchSettings(replica, device);
    const etag = answer.headers.get('etag') ?? '';
    expect((await fetchSettings(replica, device, { 'if-none-match': etag })).status).toBe(304);
    await until(async () => (await clients())?.current === 1);
    expect(await clients()).toEqual({ current: 1, stale: 2 });
    await write(settings.gone());
    await until(async () => (await clients()) === undefined);
  });

  it('stay when gateway.yaml is read again, and so do changes of both afterwards', async () => {
    const settings = new Settings('kept');
    const { revision } = await write(settings.change({ match: { groups: ['z'] }, cli: { model: 'row' } }));
    await untilReported(revision);
    const file = (env: string) =>
      stack.replicas.forEach((replica, index) => {
        const policies = [{ match: {}, cli: { env: { FILE: env } } }];
        replica.reconfigure({ ...stack.document(index), managed: { policies } });
      });
    const both = (model: string | undefined, env: string): Promise<void> =>
      until(async () =>
        (await served(['z'])).every((got) => got.model === model && got.env?.['FILE'] === env),
      );
    file('1');
    await both('row', '1');
    const changed = await write(settings.change({ match: { groups: ['z'] }, cli: { model: 'changed' } }));
    await untilReported(changed.revision);
    await both('changed', '1');
    const reloads = stack.replicas.map((replica) => replica.audit('config.load').length);
    for (const replica of stack.replicas) replica.signal('SIGHUP');
    await until(() =>
      stack.replicas.every((replica, index) => replica.audit('config.load').length > (reloads[index] ?? 0)),
    );
    await both('changed', '1');
    file('2');
    await both('changed', '2');
    const gone = await write(settings.gone());
    await untilReported(gone.revision);
    await both(undefined, '2');
  }, 120_000);

  it('stay while PostgreSQL is away, and are current when it is back', async () => {
    const settings = new Settings('away');
    const { revision } = await write(settings.change({ match: { groups: ['w'] }, cli: { model: 'before' } }));
    await untilReported(revision);
    await stack.postgres.pause();
    try {
      expect(await modelsOf(['w'])).toEqual(['before', 'before']);
    } finally {
      await stack.postgres.restart();
    }
    let after: { revision: bigint } | undefined;
    await until(async () => {
      after ??= await write(settings.change({ match: { groups: ['w'] }, cli: { model: 'after' } })).catch(
        () => undefined,
      );
      return after !== undefined;
    });
    await untilModels(['w'], 'after');
  }, 120_000);

  it('are there from the start, whatever else is in the database', async () => {
    const [good, bad] = [new Settings('early'), new Settings('early-bad')];
    await write(
      good.change({ match: { groups: ['v'] }, cli: { model: 'early' } }),
      bad.change({ match: { groups: ['v'] }, sli: {} }, 9),
    );
    const document = stack.document();
    const replica = await GatewayProcess.start({
      ...document,
      listen: { ...document.listen, port: await freePort() },
    });
    try {
      const answer = await fetchSettings(replica, bearer(['v']));
      expect(await answer.json()).toMatchObject({ settings: { model: 'early' } });
      expect(replica.audit('policy.reject')).toMatchObject([{ policy: bad.label }]);
    } finally {
      await replica.stop();
    }
  }, 120_000);
});
