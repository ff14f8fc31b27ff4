/** The import rules of docs/architecture.md: who may know whom. */
const rooms = ['auth', 'policy', 'spend', 'upstream', 'telemetry', 'admin'];

/** @type {import('dependency-cruiser').IConfiguration} */
export default {
  forbidden: [
    {
      name: 'no-cycles',
      severity: 'error',
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ['type-only'] } },
    },
    {
      name: 'contract-and-crds-stand-alone',
      comment: 'contract and crds import nothing of ours',
      severity: 'error',
      from: { path: '^(contract|crds)/src', pathNot: '\\.test\\.ts$' },
      to: { path: '^(contract|crds|prisma|operator|gateway|dev|e2e|bench)/', pathNot: '^$1/' },
    },
    {
      name: 'gateway-runs-without-kubernetes',
      severity: 'error',
      from: { path: '^gateway/src' },
      to: { path: '^(crds|operator)/|@kubernetes/client-node' },
    },
    {
      name: 'nothing-shipped-imports-development-parts',
      severity: 'error',
      from: { path: '^(contract|crds|prisma|operator|gateway)/src', pathNot: '\\.test\\.ts$|/testing/' },
      to: { path: '^(dev|e2e|bench)/' },
    },
    {
      name: 'only-the-store-speaks-sql',
      severity: 'error',
      from: { path: '^(operator|gateway|contract|crds)/src' },
      to: { path: 'node_modules/(pg|@prisma)/' },
    },
    ...rooms.map((room) => ({
      name: `gateway-room-${room}-imports-no-other-room`,
      severity: 'error',
      from: { path: `^gateway/src/${room}/` },
      to: { path: `^gateway/src/(${rooms.filter((r) => r !== room).join('|')})/` },
    })),
    {
      name: 'only-the-composition-root-wires-rooms',
      severity: 'error',
      from: { path: '^gateway/src/(http|net|observe)/', pathNot: '\\.test\\.ts$' },
      to: { path: `^gateway/src/(${rooms.join('|')})/` },
    },
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '(^|/)(dist|generated)/' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.base.json' },
    enhancedResolveOptions: { conditionNames: ['source', 'import', 'node'], exportsFields: ['exports'] },
  },
};
