/**
 * A form over a typed value. What the server says about a field stands at that field; what somebody else changed meanwhile
 * is shown beside mine, and nothing is overwritten unseen.
 */

import { useEffect, useMemo, useReducer } from "preact/hooks";
import { type ApiError, asApiError } from "./api.ts";
import { differences, type Difference, merge, same } from "./differ.ts";
import { useLatest } from "./resource.ts";

export interface FieldProps<V> {
  name: string;
  value: V;
  onChange(value: V): void;
  error: string | null;
}

/** A value's fields; `part` goes into one that has fields itself. */
export interface Fields<T> {
  readonly value: T;
  set(patch: Partial<T>): void;
  field<K extends keyof T & string>(name: K): FieldProps<T[K]>;
  part<K extends keyof T & string>(name: K): Fields<T[K]>;
}

export interface FormOptions<T> {
  value: T;
  /** What it gives becomes what is saved, for instance with its new `version`. */
  save(value: T): Promise<T | void>;
  /** Reads what is saved now, for when somebody else has changed it. */
  load?(): Promise<T>;
  /** Names of fields for people, by path. */
  labels?: Partial<Record<string, string>>;
}

export interface Clash<T> {
  /** Who changed it, and when. */
  message: string;
  theirs: T;
  differences: Difference[];
}

export interface Form<T> extends Fields<T> {
  /** What is saved. */
  readonly base: T;
  readonly dirty: boolean;
  readonly saving: boolean;
  /** By field. */
  readonly errors: Readonly<Record<string, string>>;
  /** What stands at no field of the form. */
  readonly error: ApiError | null;
  readonly clash: Clash<T> | null;
  readonly labels: Partial<Record<string, string>>;
  /** False: it was not saved, and `errors`, `error` or `clash` say why. */
  submit(event?: Event): Promise<boolean>;
  /** Forgets what was typed; with a value, that is what is saved. */
  reset(value?: T): void;
  /** Answers the clash: theirs alone, mine on top of theirs, or not yet. */
  settle(how: "theirs" | "mine" | "later"): void;
}

/** The form without a page; `changed` is called after each change. */
export class FormModel<T> implements Form<T> {
  base: T;
  value: T;
  saving = false;
  errors: Record<string, string> = {};
  clash: Clash<T> | null = null;
  private refusal: ApiError | null = null;
  private readonly shown = new Set<string>();
  private readonly changed: () => void;
  private readonly options: () => FormOptions<T>;

  constructor(options: () => FormOptions<T>, changed: () => void) {
    this.options = options;
    this.changed = changed;
    this.base = this.value = options().value;
  }

  get dirty(): boolean {
    return !same(this.base, this.value);
  }

  get labels(): Partial<Record<string, string>> {
    return this.options().labels ?? {};
  }

  get error(): ApiError | null {
    const { refusal } = this;
    return refusal?.field && [...this.shown].some((name) => within(name, refusal.field!)) ? null : refusal;
  }

  set(patch: Partial<T>): void {
    this.take({ ...this.value, ...patch }, Object.keys(patch as object));
  }

  field<K extends keyof T & string>(name: K): FieldProps<T[K]> {
    return fieldOf<T, K>(this.value, name, (patch) => this.set(patch), this.at(""));
  }

  part<K extends keyof T & string>(name: K): Fields<T[K]> {
    return this.partOf(name, this.value[name], (value) => this.set({ [name]: value } as unknown as Partial<T>));
  }

  reset(value: T = this.base): void {
    this.base = value;
    this.clash = this.refusal = null;
    this.take(value, null);
  }

  /** What came from the server by itself: taken where nothing was typed. */
  refresh(value: T): void {
    if (!this.dirty && !this.saving && !same(value, this.base)) this.reset(value);
  }

  async submit(event?: Event): Promise<boolean> {
    event?.preventDefault();
    if (this.saving) return false;
    const sent = this.value;
    this.saving = true;
    this.errors = {};
    this.refusal = null;
    this.changed();
    try {
      const saved = (await this.options().save(sent)) ?? sent;
      // What was typed while it was being saved stays, and is still to be saved.
      this.value = merge(sent, this.value, saved);
      this.base = saved;
      return true;
    } catch (error) {
      await this.refused(asApiError(error), sent);
      return false;
    } finally {
      this.saving = false;
      this.changed();
    }
  }

  settle(how: "theirs" | "mine" | "later"): void {
    const { clash } = this;
    this.clash = null;
    if (how === "theirs" && clash) this.reset(clash.theirs);
    if (how === "mine" && clash) {
      this.value = merge(this.base, this.value, clash.theirs);
      this.base = clash.theirs;
    }
    this.changed();
  }

  private async refused(error: ApiError, sent: T): Promise<void> {
    const { load } = this.options();
    if (error.code === "changed_meanwhile" && load) {
      try {
        const theirs = await load();
        this.clash = { message: error.message, theirs, differences: differences(this.base, sent, theirs) };
        return;
      } catch (second) {
        this.refusal = asApiError(second);
        return;
      }
    }
    this.refusal = error;
    if (error.field) this.errors = { [error.field]: sentence(error.message) };
  }

  private take(value: T, fields: string[] | null): void {
    this.value = value;
    const stays = ([name]: [string, string]) => fields !== null && !fields.some((each) => within(each, name));
    this.errors = Object.fromEntries(Object.entries(this.errors).filter(stays));
    if (this.refusal?.field && !Object.keys(this.errors).length) this.refusal = null;
    this.changed();
  }

  private at(prefix: string): (name: string) => [string, string | null] {
    return (name) => {
      const path = prefix + name;
      this.shown.add(path);
      return [path, errorOf(this.errors, path)];
    };
  }

  private partOf<P>(path: string, value: P, set: (value: P) => void): Fields<P> {
    const patch = (change: Partial<P>) => set({ ...value, ...change });
    return {
      value,
      set: patch,
      field: <K extends keyof P & string>(name: K) => fieldOf<P, K>(value, name, patch, this.at(`${path}.`)),
      part: <K extends keyof P & string>(name: K) =>
        this.partOf(`${path}.${name}`, value[name], (inner) => patch({ [name]: inner } as unknown as Partial<P>)),
    };
  }
}

function fieldOf<T, K extends keyof T & string>(
  value: T,
  name: K,
  set: (patch: Partial<T>) => void,
  at: (name: string) => [string, string | null],
): FieldProps<T[K]> {
  const [path, error] = at(name);
  const onChange = (next: T[K]) => set({ [name]: next } as unknown as Partial<T>);
  return { name: path, value: value[name], onChange, error };
}

/** Whether a server's field, such as `origins[...]` or `looks.color`, is this one or lies in it. */
const within = (name: string, field: string): boolean =>
  field === name || field.startsWith(`${name}.`) || field.startsWith(`${name}[`);

export function errorOf(errors: Readonly<Record<string, string>>, name: string): string | null {
  return Object.entries(errors).find(([field]) => within(name, field))?.[1] ?? null;
}

/** The server begins with the field's name in backticks, which stands above the input already. */
function sentence(message: string): string {
  const rest = message.replace(/^`[^`]*`:?\s*/, "");
  return rest ? rest[0]!.toUpperCase() + rest.slice(1) : message;
}

/** For a text that may be null: null is shown as empty, and empty is null. */
export function nullable({ name, value, onChange, error }: FieldProps<string | null>): FieldProps<string> {
  return { name, value: value ?? "", onChange: (text) => onChange(text === "" ? null : text), error };
}

export function useForm<T>(options: FormOptions<T>): Form<T> {
  const [, draw] = useReducer((n: number) => n + 1, 0);
  const latest = useLatest(options);
  const form = useMemo(() => new FormModel<T>(() => latest.current, () => draw(0)), []);
  useEffect(() => form.refresh(options.value), [options.value]);
  return form;
}
