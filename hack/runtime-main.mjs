/** What the image runs: the gateway; with `operator` as the first argument, the operator. */

// Process 1 of a container ends at no signal that it does not listen to, and loading the program takes seconds on a busy node. The
// programs listen for themselves once they run, before they let go of what is set here.
for (const [name, number] of [
  ['SIGTERM', 15],
  ['SIGINT', 2],
]) {
  process.once(name, () => {
    if (process.listenerCount(name) === 0) process.exit(128 + number);
  });
}

if (process.argv[2] === 'operator') {
  process.argv.splice(2, 1);
  await import('./operator/dist/main.js');
} else {
  await import('./gateway/dist/main.js');
}
