/** Nobody waits in a circle; should it happen all the same, or a standby object, nothing was done. */
const TRIES = 3;

/** @returns what the work returns, begun again when PostgreSQL has undone it for the sake of another transaction. */
export async function again<T>(work: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await work();
    } catch (error) {
      const { code } = error as { code?: string };
      if ((code !== '40P01' && code !== '40001') || tries === TRIES) throw error;
    }
  }
}
