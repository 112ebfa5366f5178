import type { Command } from 'commander';
import { type LocatedConfig, loadLocatedConfig } from '../config/load.ts';
import type { StoreFlags } from './options.ts';

/** Where to find the config, and what stands over it. */
export type ConfigFlags = StoreFlags & {
  readonly config: string;
  readonly listen?: string | undefined;
  readonly admin?: string | undefined;
  readonly threads?: string | undefined;
};

/** Where a config is looked for. */
export const DEFAULT_CONFIG = 'edge-config';

export const addConfigOption = (command: Command): Command =>
  command.option('--config <path>', 'directory with edge.yaml, or a file', DEFAULT_CONFIG);

/** The config under flags and environment. @throws ConfigError and ThawError CONFIG_* as `loadLocatedConfig` */
export const readConfig = ({ config, listen, admin, store, threads }: ConfigFlags): LocatedConfig =>
  loadLocatedConfig(config, { flags: { listen, admin, store, threads }, env: process.env });
