import { Connection, closedLoop, describeResponse, type LoadResult } from './load.ts';
import { openLoop, type OpenLoopResult } from './open-loop.ts';
import type { Response } from './response-parser.ts';

/** What load generators of their own process are told to do, and what they say of it: plain JSON. */

/** A request, and the body of its only right answer. */
export type Ask = { readonly path: string; readonly answer: string };

type Common = {
  readonly url: string;
  /** Asked in turn, and from the beginning again. */
  readonly asks: readonly Ask[];
};

/** Requests at a fixed rate. */
export type OpenJob = Common & {
  readonly kind: 'open';
  readonly perSecond: number;
  readonly seconds: number;
  readonly most: number;
};

/** As many requests as the server takes: until `requests` are done or `seconds` over. */
export type ClosedJob = Common & {
  readonly kind: 'closed';
  readonly connections: number;
  readonly requests: number;
  readonly seconds: number;
};

/** Each of `asks` once, one after the other on one connection; ends at the first that fails. */
export type EachJob = Common & { readonly kind: 'each' };

/** Latencies in milliseconds, in the order of the asks. */
export type EachResult = { readonly latency: readonly number[]; readonly complaint: string | null };

export type LoadJob = OpenJob | ClosedJob | EachJob;
export type JobResult<Job extends LoadJob> = Job extends OpenJob
  ? OpenLoopResult
  : Job extends ClosedJob
    ? LoadResult
    : EachResult;

/** Does a job in this process. */
export function perform(job: LoadJob): Promise<OpenLoopResult | LoadResult | EachResult> {
  const url = new URL(job.url);
  const askOf = (index: number): Ask => job.asks[index % job.asks.length] as Ask;
  const path = (index: number): string => askOf(index).path;
  const isRight = (response: Response, index: number): boolean => isAnswer(response, askOf(index));
  switch (job.kind) {
    case 'open':
      return openLoop({ ...job, url, path, isRight });
    case 'closed':
      return closedLoop({ ...job, url, path, isRight });
    case 'each':
      return askEach(url, job.asks);
  }
}

export const isAnswer = ({ status, body }: Response, { answer }: Ask): boolean => status === 200 && body === answer;

async function askEach(url: URL, asks: readonly Ask[]): Promise<EachResult> {
  const latency: number[] = [];
  let connection: Connection | null = null;
  try {
    for (const ask of asks) {
      connection ??= await Connection.open(url);
      const begun = performance.now();
      const response = await connection.get(ask.path);
      latency.push(performance.now() - begun);
      if (!isAnswer(response, ask)) return { latency, complaint: `${ask.path}: ${describeResponse(response)}` };
      if (response.keepAlive) continue;
      connection.close();
      connection = null;
    }
    return { latency, complaint: null };
  } catch (error) {
    return { latency, complaint: String(error) };
  } finally {
    connection?.close();
  }
}
