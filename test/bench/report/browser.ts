/** Chromium for the tests of the page, where there is one. */

import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { chromium, type Browser, type BrowserContextOptions, type Page } from 'playwright-core';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** The path of a browser: what CHROMIUM names, or one on PATH. @returns null when there is none */
export function findChromium(): string | null {
  const { CHROMIUM: named, PATH = '' } = process.env;
  if (named !== undefined && named !== '') return named;
  const paths = PATH.split(delimiter).flatMap((directory) => NAMES.map((name) => join(directory, name)));
  return paths.find(isExecutable) ?? null;
}

/** Root has no sandbox; the pages are our own. */
export const launch = (executablePath: string): Promise<Browser> =>
  chromium.launch({ executablePath, args: process.getuid?.() === 0 ? ['--no-sandbox'] : [] });

/** A page, and what went wrong on it. */
export type Opened = { readonly page: Page; readonly complaints: string[]; readonly requests: string[] };

/** Opens a file in a context of its own, which closes with the browser. */
export async function open(browser: Browser, file: string, options: BrowserContextOptions = {}): Promise<Opened> {
  const context = await browser.newContext({
    viewport: { width: 1280, height: 800 },
    colorScheme: 'light',
    ...options,
  });
  const page = await context.newPage();
  const [complaints, requests]: [string[], string[]] = [[], []];
  page.on('console', (message) => complaints.push(`console: ${message.text()}`));
  page.on('pageerror', (error) => complaints.push(`error: ${error.message}`));
  page.on('dialog', (dialog) => complaints.push(`dialog: ${dialog.message()}`));
  page.on('request', (request) => requests.push(request.url()));
  await page.goto(`file://${file}`);
  return { page, complaints, requests };
}
