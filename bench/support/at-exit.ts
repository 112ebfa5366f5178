/** What must not outlive the process, however it ends: one listener for all, since benches start many processes. */

const actions = new Set<() => void>();

process.on('exit', () => {
  for (const action of actions) action();
});

/** Has `action` run when the process ends. @returns what takes it back */
export function atExit(action: () => void): () => void {
  actions.add(action);
  return () => void actions.delete(action);
}
