import { ThawError } from '../errors.ts';

/**
 * A parser for the part of WIT in which thaw declares its host interfaces: types, resources and functions, with `use`
 * between interfaces. Source: component-model, design/mvp/WIT.md.
 */

export type Primitive =
  | 'bool'
  | 'u8'
  | 'u16'
  | 'u32'
  | 'u64'
  | 's8'
  | 's16'
  | 's32'
  | 's64'
  | 'f32'
  | 'f64'
  | 'char'
  | 'string';

/** A value type with every name resolved. Resource names are qualified: `wasi:http/types#fields`. */
export type WitType =
  | { readonly kind: Primitive }
  | { readonly kind: 'list'; readonly element: WitType }
  | { readonly kind: 'option'; readonly some: WitType }
  | { readonly kind: 'result'; readonly ok: WitType | null; readonly err: WitType | null }
  | { readonly kind: 'tuple'; readonly items: readonly WitType[] }
  | { readonly kind: 'record'; readonly fields: readonly (readonly [string, WitType])[] }
  | { readonly kind: 'variant'; readonly cases: readonly (readonly [string, WitType | null])[] }
  | { readonly kind: 'enum'; readonly names: readonly string[] }
  | { readonly kind: 'flags'; readonly names: readonly string[] }
  | { readonly kind: 'own' | 'borrow'; readonly resource: string };

/** `name` is the component-level export name: `[method]fields.append`, `[constructor]fields`, `poll`. */
export type WitFunc = {
  readonly name: string;
  readonly params: readonly (readonly [string, WitType])[];
  readonly result: WitType | null;
};

export type WitInterface = {
  /** Without version: `wasi:http/types`. */
  readonly name: string;
  readonly types: ReadonlyMap<string, WitType>;
  /** Local names of the resources that this interface defines. */
  readonly resources: readonly string[];
  readonly funcs: ReadonlyMap<string, WitFunc>;
};

const PRIMITIVES = new Set<string>('bool u8 u16 u32 u64 s8 s16 s32 s64 f32 f64 char string'.split(' '));
const TOKEN = /\s+|\/\/[^\n]*|(->|[{}()<>,;:=.]|%?[a-zA-Z_][\w-]*(?::[\w-]+\/[\w-]+)?)/gy;

const isPrimitive = (word: string): word is Primitive => PRIMITIVES.has(word);

/**
 * Parses one interface.
 * @param name `wasi:http/types`
 * @param body what stands between the braces of `interface … { }`
 * @param known the interfaces that `use` may name, parsed before
 */
export function parseInterface(name: string, body: string, known: ReadonlyMap<string, WitInterface>): WitInterface {
  return new InterfaceParser(name, body, known).parse();
}

class InterfaceParser {
  readonly #name: string;
  readonly #known: ReadonlyMap<string, WitInterface>;
  readonly #tokens: readonly string[];
  #at = 0;
  readonly #types = new Map<string, WitType>();
  readonly #resources: string[] = [];
  readonly #funcs = new Map<string, WitFunc>();

  constructor(name: string, body: string, known: ReadonlyMap<string, WitInterface>) {
    this.#name = name;
    this.#known = known;
    this.#tokens = tokenize(name, body);
    this.#declareResources();
  }

  parse(): WitInterface {
    while (this.#at < this.#tokens.length) this.#item();
    return { name: this.#name, types: this.#types, resources: this.#resources, funcs: this.#funcs };
  }

  /** Resources may be used before they are declared; value types may not (WIT allows it, thaw's own text does not). */
  #declareResources(): void {
    for (const [index, token] of this.#tokens.entries()) {
      const next = this.#tokens[index + 1];
      if (token !== 'resource' || next === undefined) continue;
      this.#resources.push(next);
      this.#types.set(next, { kind: 'own', resource: `${this.#name}#${next}` });
    }
  }

  #item(): void {
    const word = this.#next();
    if (word === 'use') this.#use();
    else if (word === 'type') this.#alias();
    else if (word === 'record') this.#types.set(this.#ident(), { kind: 'record', fields: this.#fields() });
    else if (word === 'variant') this.#types.set(this.#ident(), { kind: 'variant', cases: this.#cases() });
    else if (word === 'enum') this.#types.set(this.#ident(), { kind: 'enum', names: this.#names() });
    else if (word === 'flags') this.#types.set(this.#ident(), { kind: 'flags', names: this.#names() });
    else if (word === 'resource') this.#resource();
    else this.#func(stripEscape(word));
  }

  #use(): void {
    const from = this.#next();
    const source = this.#known.get(from);
    if (source === undefined) throw this.#error(`use of an interface that is not declared before: ${from}`);
    this.#expect('.');
    this.#expect('{');
    for (const name of this.#commaSeparated('}', () => this.#ident())) {
      const type = source.types.get(name);
      if (type === undefined) throw this.#error(`${from} has no type ${name}`);
      this.#types.set(name, type);
    }
    this.#expect(';');
  }

  #alias(): void {
    const name = this.#ident();
    this.#expect('=');
    this.#types.set(name, this.#type());
    this.#expect(';');
  }

  #fields(): (readonly [string, WitType])[] {
    this.#expect('{');
    return this.#commaSeparated('}', () => {
      const name = this.#ident();
      this.#expect(':');
      return [name, this.#type()] as const;
    });
  }

  #cases(): (readonly [string, WitType | null])[] {
    this.#expect('{');
    return this.#commaSeparated('}', () => {
      const name = this.#ident();
      if (!this.#accept('(')) return [name, null] as const;
      const type = this.#type();
      this.#expect(')');
      return [name, type] as const;
    });
  }

  #names(): string[] {
    this.#expect('{');
    return this.#commaSeparated('}', () => this.#ident());
  }

  #resource(): void {
    const resource = this.#ident();
    if (this.#accept(';')) return;
    this.#expect('{');
    while (!this.#accept('}')) this.#resourceMember(resource);
  }

  #resourceMember(resource: string): void {
    const id = `${this.#name}#${resource}`;
    const member = this.#ident();
    if (member === 'constructor') {
      const params = this.#params();
      this.#expect(';');
      this.#add({ name: `[constructor]${resource}`, params, result: { kind: 'own', resource: id } });
      return;
    }
    this.#expect(':');
    const isStatic = this.#accept('static');
    const { params, result } = this.#signature();
    const self = ['self', { kind: 'borrow', resource: id }] as const;
    this.#add(
      isStatic
        ? { name: `[static]${resource}.${member}`, params, result }
        : { name: `[method]${resource}.${member}`, params: [self, ...params], result },
    );
  }

  #func(name: string): void {
    this.#expect(':');
    this.#add({ name, ...this.#signature() });
  }

  #signature(): Omit<WitFunc, 'name'> {
    this.#expect('func');
    const params = this.#params();
    const result = this.#accept('->') ? this.#type() : null;
    this.#expect(';');
    return { params, result };
  }

  #params(): (readonly [string, WitType])[] {
    this.#expect('(');
    return this.#commaSeparated(')', () => {
      const name = this.#ident();
      this.#expect(':');
      return [name, this.#type()] as const;
    });
  }

  #type(): WitType {
    const word = this.#next();
    if (isPrimitive(word)) return { kind: word };
    switch (word) {
      case 'list':
        return { kind: 'list', element: this.#angled(() => this.#type()) };
      case 'option':
        return { kind: 'option', some: this.#angled(() => this.#type()) };
      case 'tuple':
        this.#expect('<');
        return { kind: 'tuple', items: this.#commaSeparated('>', () => this.#type()) };
      case 'result':
        return this.#result();
      case 'borrow':
        return this.#borrow();
      default:
        return this.#named(stripEscape(word));
    }
  }

  #result(): WitType {
    if (!this.#accept('<')) return { kind: 'result', ok: null, err: null };
    const ok = this.#accept('_') ? null : this.#type();
    const err = this.#accept(',') ? this.#type() : null;
    this.#expect('>');
    return { kind: 'result', ok, err };
  }

  #borrow(): WitType {
    const type = this.#angled(() => this.#named(this.#ident()));
    if (type.kind !== 'own') throw this.#error('borrow of a type that is not a resource');
    return { kind: 'borrow', resource: type.resource };
  }

  #named(name: string): WitType {
    const type = this.#types.get(name);
    if (type === undefined) throw this.#error(`type ${name} is not declared before its use`);
    return type;
  }

  #angled<T>(inner: () => T): T {
    this.#expect('<');
    const value = inner();
    this.#expect('>');
    return value;
  }

  #commaSeparated<T>(close: string, item: () => T): T[] {
    const items: T[] = [];
    while (!this.#accept(close)) {
      items.push(item());
      if (!this.#accept(',')) {
        this.#expect(close);
        break;
      }
    }
    return items;
  }

  #add(func: WitFunc): void {
    if (this.#funcs.has(func.name)) throw this.#error(`function ${func.name} declared twice`);
    this.#funcs.set(func.name, func);
  }

  #ident(): string {
    return stripEscape(this.#next());
  }

  #next(): string {
    const token = this.#tokens[this.#at++];
    if (token === undefined) throw this.#error('unexpected end');
    return token;
  }

  #accept(token: string): boolean {
    if (this.#tokens[this.#at] !== token) return false;
    this.#at++;
    return true;
  }

  #expect(token: string): void {
    const found = this.#next();
    if (found !== token) throw this.#error(`expected ${token}, found ${found}`);
  }

  #error(what: string): ThawError {
    return new ThawError('INTERNAL', `parsing the WIT of ${this.#name}, token ${this.#at}: ${what}`);
  }
}

/** `%stream` is the identifier `stream`: WIT's way to use a keyword as a name. */
const stripEscape = (word: string): string => (word.startsWith('%') ? word.slice(1) : word);

function tokenize(name: string, text: string): string[] {
  const tokens: string[] = [];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < text.length) {
    const at = TOKEN.lastIndex;
    const match = TOKEN.exec(text);
    if (match === null) throw new ThawError('INTERNAL', `parsing the WIT of ${name}: no token at character ${at}`);
    if (match[1] !== undefined) tokens.push(match[1]);
  }
  return tokens;
}
