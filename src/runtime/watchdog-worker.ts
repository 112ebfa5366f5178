import { workerData } from 'node:worker_threads';
import { keepWatch, Watch } from './watch.ts';
import type { WatchdogInput } from './watchdog.ts';

/** The entry of the watchdog's thread. It blocks until it is told to end. */
const { controls, doorbell } = workerData as WatchdogInput;

keepWatch(new Watch(controls.map((buffer) => new Int32Array(buffer))), new Int32Array(doorbell));
