/** What the benchmarks need of the end-to-end harness. */
export { freePort } from './harness/gateway-process.ts';
export { signIn, type Tokens } from './harness/sign-in.ts';
export { CLAUDE_CODE_VERSION, claudeCodeBinary } from './testbed/claude-code.ts';
