import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { MAX_LOOKS, TURN_MS, Turns } from '../../src/http/turns.ts';

/** An event loop that turns when it is told to, on a clock that guests move. */
class Loop {
  now = 0;
  readonly turns: Turns;
  /** Which guests have started, in order. */
  readonly started: string[] = [];
  #next: (() => void)[] = [];
  readonly #microtasks: (() => void)[] = [];

  constructor() {
    this.turns = new Turns(
      () => this.now,
      (work) => this.#next.push(work),
      (work) => this.#microtasks.push(() => this.#microtasks.push(work)),
    );
  }

  /** A guest of the route comes, and runs so long as soon as it may. */
  come(route: number, ranMs: number, how: 'take' | 'again' = 'take'): void {
    this.turns[how](route, () => {
      this.started.push(`${route}`);
      this.now += ranMs;
      this.turns.took(route, ranMs);
    });
  }

  /** A guest of the route that has waited may go on. It does so in a microtask, as promises have it. */
  wake(route: number, name: string, ranMs: number): void {
    const run = (): void => {
      this.started.push(name);
      this.now += ranMs;
      this.turns.took(route, ranMs);
    };
    this.turns.goOn(route, () => this.#microtasks.push(run));
    this.#runMicrotasks();
  }

  #runMicrotasks(): void {
    for (let task = this.#microtasks.shift(); task !== undefined; task = this.#microtasks.shift()) task();
  }

  /** The end of a turn: what was to be called after its sockets. */
  turn(): void {
    const work = this.#next;
    this.#next = [];
    for (const each of work) {
      each();
      this.#runMicrotasks();
    }
  }

  run(turns: number): string {
    for (let turn = 0; turn < turns; turn++) this.turn();
    return this.started.join('');
  }

  /** Nothing is left to be done. */
  get isQuiet(): boolean {
    return this.#next.length === 0;
  }
}

const SHORT_MS = TURN_MS / 8;
const LONG_MS = TURN_MS * 25;

/** A guest that is busy for three turns. */
function spin(): void {
  const until = performance.now() + 3 * TURN_MS;
  while (performance.now() < until);
}

suite('turns of guests', () => {
  test('one that comes alone starts at once; the others of its turn when the sockets have been read', () => {
    const loop = new Loop();
    for (let guest = 0; guest < 3; guest++) loop.come(1, SHORT_MS);
    assert.equal(loop.run(0).length, 1);
    assert.equal(loop.run(1).length, 3);
    loop.run(1);
    assert.ok(loop.isQuiet);
  });

  test('after a turn in which several came, the first of the next is not taken for one that is alone', () => {
    const loop = new Loop();
    loop.come(1, SHORT_MS);
    loop.come(1, SHORT_MS);
    loop.run(1);
    loop.come(2, SHORT_MS);
    assert.equal(loop.run(0), '11');
    assert.equal(loop.run(1), '112');
    loop.run(1);
    loop.come(3, SHORT_MS);
    assert.equal(loop.run(0), '1123', 'the last turn had one');
  });

  test('those of a turn that is over wait for the next', () => {
    const loop = new Loop();
    for (let guest = 0; guest < 12; guest++) loop.come(1, SHORT_MS);
    assert.equal(loop.run(1).length, 9);
    assert.equal(loop.run(1).length, 12);
    loop.run(1);
    assert.ok(loop.isQuiet);
  });

  test('a long one ends its turn', () => {
    const loop = new Loop();
    for (let guest = 0; guest < 3; guest++) loop.come(1, LONG_MS);
    assert.equal(loop.run(0), '1');
    assert.equal(loop.run(1), '11');
    assert.equal(loop.run(1), '111');
  });

  test('nobody overtakes who waits, though there is time', () => {
    const loop = new Loop();
    loop.come(1, LONG_MS);
    loop.come(2, 0);
    loop.now = 0;
    loop.come(3, 0);
    assert.equal(loop.run(1), '123');
  });

  test('of those that wait the route starts that took the least time', () => {
    const loop = new Loop();
    for (let guest = 0; guest < 4; guest++) loop.come(1, LONG_MS);
    for (let guest = 0; guest < 6; guest++) loop.come(2, SHORT_MS);
    assert.equal(loop.run(0), '1');
    // The first of them was the first to wait; from then on the others are far behind it.
    assert.equal(loop.run(1), '11');
    assert.equal(loop.run(1), '112222221');
    assert.equal(loop.run(1), '1122222211');
  });

  test('a route that comes late does not catch up with what others took before', () => {
    const loop = new Loop();
    for (let guest = 0; guest < 40; guest++) loop.come(1, LONG_MS);
    loop.run(20);
    assert.equal(loop.started.length, 21);
    for (let guest = 0; guest < 10; guest++) loop.come(2, LONG_MS);
    const late = loop.run(8).slice(21);
    assert.equal(late.replaceAll('1', '').length, 4, late);
  });

  test('what was taken is remembered while somebody waits now and then, and forgotten later', () => {
    for (const [pauseMs, expected] of [
      [0, '1121'],
      [2000, '1112'],
    ] as const) {
      const loop = new Loop();
      loop.come(1, LONG_MS);
      loop.come(1, LONG_MS);
      loop.run(2);
      loop.now += pauseMs;
      loop.turns.take(3, () => {});
      loop.now += TURN_MS;
      loop.come(1, LONG_MS);
      loop.come(2, SHORT_MS);
      assert.equal(loop.run(2), expected, `after ${pauseMs} ms`);
    }
  });

  test('while connections come nobody starts, but not for ever', () => {
    const loop = new Loop();
    loop.come(1, LONG_MS);
    loop.come(1, LONG_MS);
    for (let turn = 0; turn < 5; turn++) {
      loop.turns.connected();
      assert.equal(loop.run(1), '1');
    }
    assert.equal(loop.run(1), '11');
    loop.come(1, LONG_MS);
    for (let turn = 0; turn < MAX_LOOKS; turn++) {
      loop.turns.connected();
      assert.equal(loop.run(1), '11');
    }
    loop.turns.connected();
    assert.equal(loop.run(1), '111');
  });

  test('one that had its turn waits again only if that is over', () => {
    const loop = new Loop();
    loop.come(1, LONG_MS, 'again');
    assert.equal(loop.run(0), '1');
    loop.come(2, 0);
    loop.come(3, 0, 'again');
    assert.equal(loop.run(0), '1');
    assert.equal(loop.run(1), '123');
    loop.come(4, LONG_MS);
    loop.come(2, 0);
    // Its turn, as far as others that wait are concerned.
    loop.now -= LONG_MS;
    loop.come(3, 0, 'again');
    assert.equal(loop.run(0), '12343');
  });

  test('guests that go on share the time of a turn, and a long one ends it', () => {
    const loop = new Loop();
    for (const name of 'abcdefghi') loop.wake(1, name, SHORT_MS);
    assert.equal(loop.run(0), 'abcdefgh');
    assert.equal(loop.run(1), 'abcdefghi');
    for (const name of 'klm') loop.wake(1, name, LONG_MS);
    assert.equal(loop.run(0), 'abcdefghik');
    assert.equal(loop.run(1), 'abcdefghikl');
    assert.equal(loop.run(2), 'abcdefghiklm');
    loop.run(2);
    assert.ok(loop.isQuiet);
  });

  test('a route whose guests go on for long lets others start between', () => {
    const loop = new Loop();
    for (const name of 'abcd') loop.wake(1, name, LONG_MS);
    loop.come(2, SHORT_MS);
    loop.come(2, SHORT_MS);
    assert.equal(loop.run(0), 'a');
    assert.equal(loop.run(1), 'ab', 'the first to wait');
    assert.equal(loop.run(1), 'ab22c');
    assert.equal(loop.run(1), 'ab22cd');
  });

  test('of one route, those that have begun go on before others start', () => {
    const loop = new Loop();
    loop.come(1, LONG_MS);
    loop.come(1, 0);
    loop.wake(1, 'a', 0);
    loop.wake(1, 'b', 0);
    assert.equal(loop.run(0), '1');
    assert.equal(loop.run(1), '1ab1');
  });

  test('one that goes on does not overtake who waits, though there is time', () => {
    const loop = new Loop();
    loop.come(1, LONG_MS);
    loop.come(2, 0);
    loop.now = 0;
    loop.wake(3, 'a', 0);
    assert.equal(loop.run(0), '1');
    assert.equal(loop.run(1), '12a');
  });

  test('with the event loop of Node, the next one goes on when the one before has', async () => {
    const turns = new Turns();
    const order: string[] = [];
    const goOn = async (route: number, name: string): Promise<void> => {
      const { promise, resolve } = Promise.withResolvers<void>();
      turns.goOn(route, resolve);
      // As a guest does, which is some microtasks away.
      await promise.then().then();
      order.push(name);
      spin();
      turns.took(route, 3 * TURN_MS);
    };
    turns.take(1, spin);
    const all = [goOn(1, 'a'), goOn(1, 'b'), goOn(1, 'c'), goOn(1, 'd')];
    setImmediate(() => turns.take(2, () => order.push('other')));
    await Promise.all(all);
    assert.equal(order.length, 5);
    assert.ok(order.indexOf('other') <= 2, order.join());
  });

  test('with the event loop of Node, a request that comes while guests run starts before those that came first', async () => {
    const turns = new Turns();
    const order: number[] = [];
    const come = (route: number, done: () => void): void =>
      turns.take(route, () => {
        order.push(route);
        spin();
        turns.took(route, 3 * TURN_MS);
        done();
      });
    // Each in a callback of its own, as requests come.
    const comes = [...Array.from({ length: 10 }, () => 1), 2].map(
      (route) => new Promise<void>((resolve) => setImmediate(() => come(route, resolve))),
    );
    await Promise.all(comes);
    assert.equal(order.length, 11);
    assert.ok(order.indexOf(2) < 4, order.join());
  });
});
