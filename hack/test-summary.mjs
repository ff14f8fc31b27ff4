/**
 * Sums up jest's JSON reports: `node hack/test-summary.mjs [--failed-steps=N] REPORT…`.
 * The last line is `N passed, N failed[, N skipped]`; the exit code is 1 when something failed or no test passed.
 * Failed steps count when no failed test explains them.
 */
import { existsSync, readFileSync } from 'node:fs';
import { relative } from 'node:path';

const total = { passed: 0, failed: 0, skipped: 0 };
let failedSteps = 0;
for (const argument of process.argv.slice(2)) {
  const steps = /^--failed-steps=(\d+)$/.exec(argument);
  if (steps !== null) failedSteps = Number(steps[1]);
  else add(argument);
}

function add(file) {
  if (!existsSync(file)) {
    console.log(`no report ${file}: the run ended before its tests did`);
    total.failed++;
    return;
  }
  const report = JSON.parse(readFileSync(file, 'utf8'));
  total.passed += report.numPassedTests;
  // A file that does not even load counts as one failure, though none of its tests ran.
  total.failed += report.numFailedTests + report.numRuntimeErrorTestSuites;
  total.skipped += report.numPendingTests + report.numTodoTests;
  for (const suite of report.testResults) {
    const skipped = suite.assertionResults.filter(({ status }) => status === 'pending' || status === 'todo');
    for (const { fullName } of skipped) console.log(`skipped: ${relative('', suite.name)}: ${fullName}`);
  }
}

const failed = Math.max(total.failed, failedSteps);
const { passed, skipped } = total;
console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);
process.exitCode = failed > 0 || passed === 0 ? 1 : 0;
