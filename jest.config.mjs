import { availableParallelism } from 'node:os';

/** Tests run on the TypeScript sources themselves: the `source` condition of every workspace's exports. */
export default {
  testEnvironment: 'node',
  testEnvironmentOptions: { customExportConditions: ['source', 'node', 'node-addons'] },
  extensionsToTreatAsEsm: ['.ts'],
  transform: {
    '^.+\\.ts$': [
      '@swc/jest',
      {
        jsc: {
          target: 'es2024',
          parser: { syntax: 'typescript' },
          experimental: { keepImportAttributes: true },
        },
        module: { type: 'es6' },
      },
    ],
  },
  testMatch: ['<rootDir>/{contract,crds,dev,prisma,operator,gateway,e2e,bench}/src/**/*.test.ts'],
  modulePathIgnorePatterns: ['/dist/'],
  testTimeout: 30_000,
  // Many tests wait for clocks and other processes: on two cores a second one has room (890 s instead of 1,490).
  maxWorkers: Math.max(2, availableParallelism() - 1),
};
