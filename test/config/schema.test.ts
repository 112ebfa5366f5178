import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { METHODS as NODE_METHODS } from 'node:http';
import { test } from 'node:test';
import { Ajv } from 'ajv';
import { CONFIG_SCHEMA, schemaText } from '../../src/config/schema.ts';

test('edge-config/schema.json is the schema: run node scripts/schema.ts when this fails', () => {
  assert.equal(readFileSync(new URL('../../edge-config/schema.json', import.meta.url), 'utf8'), schemaText());
});

test('the published schema is valid draft-07, in the strict mode of other tools', () => {
  const ajv = new Ajv({ strict: true, allowUnionTypes: false });
  const schema: unknown = JSON.parse(schemaText());
  assert.ok(typeof schema === 'object' && schema !== null);
  assert.equal(ajv.validateSchema(schema), true);
  assert.equal(ajv.addSchema(schema, 'thaw').validate('thaw', { routes: [{ route: '/', snapshot: 'a' }] }), true);
  const routesFile = ajv.compile({ $ref: 'thaw#/definitions/routesFile', definitions: {} });
  assert.equal(routesFile([{ route: '/', snapshot: 'a' }]), true);
  assert.equal(routesFile([{ route: '/' }]), false);
});

type Schema = {
  readonly type?: string;
  readonly description?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
};

const describedKeys = (schema: Schema, path: string, into: Map<string, boolean>): Map<string, boolean> => {
  for (const [key, property] of Object.entries(schema.properties ?? {})) {
    into.set(`${path}.${key}`, property.description !== undefined);
    describedKeys(property, `${path}.${key}`, into);
  }
  return schema.items === undefined ? into : describedKeys(schema.items, `${path}[]`, into);
};

test('every key has a description', () => {
  const keys = describedKeys(CONFIG_SCHEMA, '', new Map());
  assert.equal(keys.get('.routes[].limits.wall'), true);
  assert.deepEqual(
    [...keys].filter(([, described]) => !described),
    [],
  );
});

test('every method is one that the HTTP parser knows', () => {
  const methods = CONFIG_SCHEMA.properties.routes.items.properties.methods.items.enum;
  assert.deepEqual(
    methods.filter((method) => !NODE_METHODS.includes(method)),
    [],
  );
});
