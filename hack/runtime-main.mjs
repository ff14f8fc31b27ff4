/** What the image runs: the gateway; with `operator` as the first argument, the operator. */
if (process.argv[2] === 'operator') {
  process.argv.splice(2, 1);
  await import('./operator/dist/main.js');
} else {
  await import('./gateway/dist/main.js');
}
