import { Socket, type LookupFunction } from 'node:net';
import { assertDatabaseHost, checkedLookup, type Resolve } from './checked-lookup.ts';

/** The socket to a database: it connects to no address that nothing of ours connects to. The driver names port and host, or a path. */
export class CheckedSocket extends Socket {
  readonly #lookup: LookupFunction;

  constructor(resolve?: Resolve) {
    super();
    this.#lookup = checkedLookup(resolve);
  }

  override connect(...[target, host]: readonly unknown[]): this {
    if (typeof host !== 'string') return super.connect(String(target));
    try {
      assertDatabaseHost(host);
    } catch (error) {
      return this.destroy(error as Error);
    }
    return super.connect({ port: Number(target), host, lookup: this.#lookup });
  }
}
