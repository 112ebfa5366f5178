import { parseArgs } from 'node:util';

/** A flag that takes a number. `about` says what it is and its unit. */
type Flag = { readonly default: number; readonly about: string };

/**
 * The command line of a bench: numbers only. `--help` explains and ends the process, anything else unknown does too.
 *
 * @param about what the bench measures
 */
export function readOptions<const F extends Readonly<Record<string, Flag>>>(
  about: string,
  flags: F,
): Readonly<Record<keyof F, number>> {
  const named = Object.entries(flags);
  const options = Object.fromEntries(named.map(([name]) => [name, { type: 'string' as const }]));
  const { values } = parseArgs({ options: { ...options, help: { type: 'boolean' } } });
  if (values.help === true) {
    process.stdout.write(`${helpText(about, named)}\n`);
    process.exit(0);
  }
  const given: Readonly<Record<string, unknown>> = values;
  return Object.fromEntries(named.map(([name, flag]) => [name, numberOf(name, given[name] ?? flag.default)])) as Record<
    keyof F,
    number
  >;
}

function numberOf(name: string, value: unknown): number {
  const number = Number(value);
  if (Number.isFinite(number) && number >= 0) return number;
  process.stderr.write(`--${name} takes a number that is not negative, not ${JSON.stringify(value)}\n`);
  process.exit(2);
}

const helpText = (about: string, flags: readonly (readonly [string, Flag])[]): string =>
  [about, '', ...flags.map(([name, flag]) => `  --${name.padEnd(12)} ${flag.about} (default ${flag.default})`)].join(
    '\n',
  );
