import assert from 'node:assert/strict';
import { buildGuest } from '../guests/build.ts';

/** The guest `as-scribe`: what its path says it does to its instance, see test/guests/as/scribe.as. */

/** Three apps of one code: they differ in memory, globals and size of memory. */
export const VARIANTS = [0, 1, 2] as const;
export type Variant = (typeof VARIANTS)[number];

const textOf = (variant: Variant): Buffer => Buffer.from(`scribe variant ${variant}`, 'utf16le');

/** The component with another constant in its data. */
export async function scribe(variant: Variant): Promise<Uint8Array> {
  const component = Buffer.from(await buildGuest('as-scribe'));
  const at = component.indexOf(textOf(0));
  assert.ok(at > 0 && component.indexOf(textOf(0), at + 1) < 0, 'the constant is there once');
  textOf(variant).copy(component, at);
  return component;
}
