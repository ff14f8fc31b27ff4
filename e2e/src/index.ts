/** What the benchmarks need of the end-to-end harness. */
export { mintBearer } from './harness/bearer.ts';
export { signIn, type Tokens } from './harness/sign-in.ts';
export { CLAUDE_CODE_VERSION, claudeCodeBinary } from './testbed/claude-code.ts';
export { AdminClient, type Cap } from './spend/caps.ts';
export { runHeadline, type HeadlineOptions, type HeadlineResult } from './spend/headline.ts';
export { dollars } from './spend/prices.ts';
export { Platform, until, type Namespace } from './operator/platform.ts';
export type { OperatorProcess } from './operator/operator-process.ts';
