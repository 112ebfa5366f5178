import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import * as fc from 'fast-check';
import { Departures } from '../../src/http/departures.ts';

/** An event loop that turns when it is told to. */
class Loop {
  /** What has left, in order. */
  readonly gone: string[] = [];
  /** Whether requests wait for the thread. */
  isBusy = false;
  readonly departures = new Departures(
    () => this.isBusy,
    (work) => void this.#next.push(work),
  );
  #next: (() => void)[] = [];

  depart(...names: readonly string[]): void {
    for (const name of names) this.departures.depart(() => this.gone.push(name));
  }

  afterwards(name: string): void {
    this.departures.afterwards(() => this.gone.push(name));
  }

  turn(): void {
    for (const work of this.#next.splice(0)) work();
  }

  get text(): string {
    return this.gone.join(' ');
  }

  /** How many callbacks the loop owes. */
  get owed(): number {
    return this.#next.length;
  }
}

suite('Departures', () => {
  test('the first of a turn leaves at once, the others at its end, in order', () => {
    const loop = new Loop();
    loop.depart('a', 'b', 'c');
    assert.equal(loop.text, 'a');
    assert.equal(loop.owed, 1, 'one callback for the turn, however many leave');
    loop.turn();
    assert.equal(loop.text, 'a b c');
  });

  test('while requests wait for the thread, the first leaves with the others, too', () => {
    const loop = new Loop();
    loop.isBusy = true;
    loop.depart('a');
    assert.deepEqual([loop.text, loop.owed], ['', 1]);
    loop.afterwards('after a');
    loop.isBusy = false;
    loop.depart('b');
    assert.equal(loop.text, '', 'it is not the first of its turn');
    loop.turn();
    assert.equal(loop.text, 'a after a b');
    loop.depart('c');
    assert.equal(loop.text, 'a after a b c');
  });

  test('a new turn begins anew', () => {
    const loop = new Loop();
    for (const [first, second] of ['ab', 'cd', 'ef'] as const) {
      loop.depart(first as string, second as string);
      assert.equal(loop.gone.at(-1), first);
      loop.turn();
      assert.equal(loop.gone.at(-1), second);
      assert.equal(loop.owed, 0);
    }
    assert.equal(loop.text, 'a b c d e f');
  });

  test('flush lets go of what is held, and the turn goes on', () => {
    const loop = new Loop();
    loop.departures.flush();
    loop.depart('a', 'b');
    loop.departures.flush();
    assert.equal(loop.text, 'a b');
    loop.depart('c');
    assert.equal(loop.text, 'a b', 'something has left in this turn');
    loop.turn();
    assert.equal(loop.text, 'a b c');
  });

  test('what comes after sending is done now when nothing is held, else when that has left', () => {
    const loop = new Loop();
    loop.afterwards('before all');
    loop.depart('a');
    loop.afterwards('after a');
    assert.equal(loop.text, 'before all a after a');
    loop.depart('b');
    loop.afterwards('after b');
    loop.depart('c');
    loop.afterwards('after c');
    assert.equal(loop.text, 'before all a after a');
    loop.turn();
    assert.equal(loop.text, 'before all a after a b after b c after c');
  });

  test('what leaves may let others leave: they wait for the next end, and none is lost', () => {
    const loop = new Loop();
    loop.depart('a');
    loop.departures.depart(() => {
      loop.gone.push('b');
      loop.depart('c', 'd');
    });
    loop.departures.flush();
    assert.equal(loop.text, 'a b');
    loop.turn();
    assert.equal(loop.text, 'a b c d');
  });

  test('by default the event loop of Node ends the turn', async () => {
    const gone: string[] = [];
    const departures = new Departures(() => false);
    departures.depart(() => gone.push('a'));
    departures.depart(() => gone.push('b'));
    await Promise.resolve();
    assert.deepEqual(gone, ['a']);
    await new Promise(setImmediate);
    assert.deepEqual(gone, ['a', 'b']);
  });

  test('like a list that is emptied at the end of each turn', () => {
    const step = fc.constantFrom('depart', 'afterwards', 'flush', 'turn', 'busy');
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const loop = new Loop();
        const gone: string[] = [];
        let held: string[] = [];
        let isFirst = true;
        for (const [index, kind] of steps.entries()) {
          const name = `${index}`;
          if (kind === 'depart') {
            loop.depart(name);
            (isFirst && !loop.isBusy ? gone : held).push(name);
            isFirst = false;
          } else if (kind === 'afterwards') {
            loop.afterwards(name);
            (held.length === 0 ? gone : held).push(name);
          } else if (kind === 'busy') {
            loop.isBusy = !loop.isBusy;
          } else {
            if (kind === 'flush') loop.departures.flush();
            else loop.turn();
            if (kind === 'turn') isFirst = true;
            gone.push(...held);
            held = [];
          }
          assert.deepEqual(loop.gone, gone);
        }
      }),
    );
  });
});
