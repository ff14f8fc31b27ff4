import { spawnSync } from 'node:child_process';

/** One line of an exposition: its value by `name{label="value",…}`, as it is written. */
export function samplesOf(exposition: string): Map<string, number> {
  const samples = new Map<string, number>();
  for (const line of exposition.split('\n')) {
    if (line === '' || line.startsWith('#')) continue;
    const space = line.lastIndexOf(' ');
    samples.set(line.slice(0, space), Number(line.slice(space + 1)));
  }
  return samples;
}

/** Whether Debian's `prometheus` is installed, whose promtool knows what Prometheus takes. */
export const hasPromtool = spawnSync('promtool', ['--version']).status === 0;

/** What `promtool check metrics` finds wrong, in lines; empty when nothing is. */
export function promtoolFindings(exposition: string): string[] {
  const { status, stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], {
    input: exposition,
    encoding: 'utf8',
  });
  const lines = `${stdout}${stderr}`.split('\n').filter((line) => line !== '');
  return status !== 0 && lines.length === 0 ? [`promtool exited with ${status}`] : lines;
}
