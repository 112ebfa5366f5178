import { workerData } from 'node:worker_threads';
import { StopPage } from './stop-page.ts';
import { keepWatch, Watch } from './watch.ts';
import type { WatchdogInput } from './watchdog.ts';

/** The entry of the watchdog's thread. It blocks until it is told to end. */
const { controls, doorbell } = workerData as WatchdogInput;

const threads = controls.map((buffer) => ({ words: new Int32Array(buffer), page: new StopPage(buffer) }));

keepWatch(new Watch(threads), new Int32Array(doorbell));
