import { expect, it } from '@jest/globals';
import { loadConfig } from '@claude-gateway/contract';
import { memoryBytes, trafficLimits } from './traffic-limits.ts';

const MIB = 1024 * 1024;

function limitsOf(memory: number, limits: Record<string, number> = {}) {
  const document = {
    listen: { host: '127.0.0.1' },
    oidc: { issuer: 'https://idp.example', client_id: 'g', client_secret: 's' },
    session: { jwt_secret: '0123456789abcdef0123456789abcdef' },
    store: { postgres_url: 'postgres://db.example/gateway' },
    upstreams: [{ provider: 'anthropic', auth: { api_key: 'k' } }],
    limits,
  };
  const { config } = loadConfig(JSON.stringify(document), { env: {}, readFile: () => '' });
  return trafficLimits(config.limits, config.timeouts, memory);
}

it.each([
  ['a small pod', 128, 64, 1000],
  ['a usual one', 512, 128, 2048],
  ['a large one', 2048, 512, 8192],
  ['a machine without limits', 262_144, 1024, 20_000],
])('%s (%d MiB) keeps %d MiB of bodies and %d connections', (_, memory, bodies, connections) => {
  const limits = limitsOf(memory * MIB);
  expect(limits.maxBufferedBodyBytes).toBe(bodies * MIB);
  expect(limits.maxConnections).toBe(connections);
  expect(limits.maxConnectionsPerAddress).toBe(connections / 2);
});

it.each([256, 512, 2048, 262_144])(
  'strangers who finish no headers fill a quarter of %d MiB at most',
  (memory) => {
    // Measured for each connection, with headers as long as they may be.
    const unfinished = 51_000;
    expect(limitsOf(memory * MIB).maxConnections * unfinished).toBeLessThan((memory * MIB) / 4);
  },
);

it('takes what the configuration says, and always room for one whole body', () => {
  const limits = limitsOf(512 * MIB, {
    max_buffered_request_bytes: 5,
    max_request_bytes: 1000,
    max_connections: 20,
    max_connections_per_address: 0,
  });
  expect(limits).toMatchObject({
    maxBufferedBodyBytes: 1000,
    maxBodyBytes: 1000,
    maxConnections: 20,
    maxConnectionsPerAddress: 0,
  });
});

it('knows how much memory there is', () => {
  expect(memoryBytes()).toBeGreaterThan(64 * MIB);
});
