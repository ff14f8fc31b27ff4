/**
 * Sums up jest's JSON reports: `node hack/test-summary.mjs [--failed-steps=N] REPORT…`.
 * The last line is `N passed, N failed[, N skipped]`; the exit code is 1 when something failed or no test passed.
 * Failed steps count when no failed test explains them. The line before it counts what was skipped, and says how to run that.
 */
import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { delimiter, join, relative } from 'node:path';

/** Programs that tests are skipped without, any one of each row, and the package of Debian and Ubuntu that has them. */
const PROGRAMS = [
  { programs: ['chromium', 'chromium-browser', 'google-chrome'], variable: 'CHROMIUM_BIN', from: 'chromium' },
  { programs: ['curl'], from: 'curl' },
  { programs: ['jq'], from: 'jq' },
  { programs: ['nginx'], from: 'nginx-light' },
  { programs: ['openssl'], from: 'openssl' },
  { programs: ['pgbouncer'], variable: 'PGBOUNCER_BIN', from: 'pgbouncer' },
  { programs: ['promtool'], from: 'prometheus' },
  { programs: ['tmux'], from: 'tmux' },
];

const total = { passed: 0, failed: 0, skipped: 0 };
/** Skipped tests by file. */
const skippedIn = new Map();
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
    const file = relative('', suite.name);
    if (skipped.length > 0) skippedIn.set(file, (skippedIn.get(file) ?? 0) + skipped.length);
  }
}

/** One line: how many in which files, and what to install. */
function skippedInWords() {
  const files = [...skippedIn].map(([file, count]) => `${count} in ${file}`).join(', ');
  const missing = PROGRAMS.filter(({ programs, variable }) => {
    return !process.env[variable ?? ''] && !programs.some(isOnPath);
  }).map(({ from }) => from);
  const install = missing.length > 0 ? `install ${missing.join(', ')}; ` : '';
  return `skipped: ${files}. To run them: ${install}docs/development.md, "Tests", says what each needs.`;
}

function isOnPath(program) {
  // Debian keeps servers where people have no PATH to.
  return [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin'].some((directory) => {
    try {
      accessSync(join(directory, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

if (skippedIn.size > 0) console.log(skippedInWords());
const failed = Math.max(total.failed, failedSteps);
const { passed, skipped } = total;
console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);
process.exitCode = failed > 0 || passed === 0 ? 1 : 0;
