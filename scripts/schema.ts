/** Writes edge-config/schema.json from the one schema: `node scripts/schema.ts`. A test holds the file to it. */
import { writeFileSync } from 'node:fs';
import { schemaText } from '../src/config/schema.ts';

writeFileSync(new URL('../edge-config/schema.json', import.meta.url), schemaText());
