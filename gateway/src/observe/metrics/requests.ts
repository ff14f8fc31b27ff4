import type { Registry } from 'prom-client';
import { pathOf } from '../../http/request-target.ts';
import type { ShedReason } from '../../http/shedding.ts';
import { REQUEST_SECONDS, STREAM_SECONDS } from './buckets.ts';
import { routeOf, type Route } from './route.ts';
import { TallyHistogram, type Observations } from './tally-histogram.ts';
import { TallyCounter, type Tally } from './tally.ts';

const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']);

/** All requests, whatever they ask for. */
export class RequestMetrics {
  readonly #requests: TallyCounter<'route' | 'method' | 'status'>;
  readonly #duration: TallyHistogram<'route'>;
  readonly #shed: TallyCounter<'reason'>;
  readonly #routes = new Map<Route, RouteMetrics>();

  constructor(registry: Registry) {
    this.#requests = new TallyCounter({
      name: 'claude_gateway_http_requests_total',
      help: 'Requests that were answered, by route, method and class of the status. A client that went before its answer counts as 4xx.',
      labelNames: ['route', 'method', 'status'],
      registry,
    });
    this.#duration = new TallyHistogram({
      name: 'claude_gateway_http_request_duration_seconds',
      help: 'Time from the arrival of a request to the last byte of its answer, by route.',
      labelNames: ['route'],
      buckets: [...REQUEST_SECONDS, ...STREAM_SECONDS],
      registry,
    });
    this.#shed = new TallyCounter({
      name: 'claude_gateway_http_shed_total',
      help: 'Connections and requests that were refused or cut off so that others can be served, by reason: connections, connections_per_address, in_flight_per_address, in_flight_per_person, buffered_bytes, buffered_bytes_per_person, slow_headers, unfinished_headers, slow_body, slow_reader, pipelining.',
      labelNames: ['reason'],
      registry,
    });
  }

  /**
   * A request is over.
   *
   * @param target Path and query.
   * @param status 499 when the client went before it was answered.
   */
  answered(method: string | undefined, target: string, status: number, durationMs: number): void {
    const route = this.#route(routeOf(pathOf(target)));
    route.duration.observe(durationMs / 1000);
    const known = method !== undefined && METHODS.has(method) ? method : 'other';
    let statuses = route.tallies.get(known);
    if (statuses === undefined) {
      statuses = [];
      route.tallies.set(known, statuses);
    }
    const statusClass = Math.trunc(status / 100);
    const tally = (statuses[statusClass] ??= this.#requests.child(route.name, known, `${statusClass}xx`));
    tally.value++;
  }

  /** A client was refused or cut off so that others can be served. */
  shed(reason: ShedReason): void {
    this.#shed.child(reason).value++;
  }

  #route(name: Route): RouteMetrics {
    let route = this.#routes.get(name);
    if (route === undefined) {
      route = { name, duration: this.#duration.child(name), tallies: new Map() };
      this.#routes.set(name, route);
    }
    return route;
  }
}

interface RouteMetrics {
  readonly name: Route;
  readonly duration: Observations;
  /** By method, then by the first digit of the status. */
  readonly tallies: Map<string, Tally[]>;
}
